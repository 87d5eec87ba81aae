// Answer: one task of the matrix, in whatever runtime this is.
import { firstResult, throughput } from "./speed.mjs";
import { conform, threaded } from "./suite.mjs";

const TASKS = {
  /** Both builds one after the other: SIMD as it loads by itself, then scalar, asked for after first use. */
  hashes: async (load, scalar) => ({ simd: await conform(load), scalar: await conform(load, scalar) }),
  first: (load) => firstResult(load),
  threads: (load) => threaded(load),
  speed: (load) => throughput(load),
  /** What a caller is told where the runtime forbids Wasm. */
  refused: async (load) => {
    const { quantize } = await load("wlq");
    return await quantize(new Float32Array(9)).then(
      () => "no error",
      ({ code, message }) => `${code}: ${message}`,
    );
  },
};

/**
 * @param task its name
 * @param load a module of the package by its import path
 * @param scalar what `init` takes for the scalar build
 * @returns `{ value }` or `{ error }`, plain data
 */
export async function answer(task, load, scalar = { simd: false }) {
  try {
    return { value: await TASKS[task](load, scalar) };
  } catch (error) {
    return { error: `${error?.stack ?? error}` };
  }
}
