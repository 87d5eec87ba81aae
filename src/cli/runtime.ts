// Runtime: onnxruntime as it is installed, made ready for a process that runs a model a few dozen times and ends.
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { setFlagsFromString } from "node:v8";
import type { Ort, OrtTensor } from "../adapters/onnxruntime.ts";
import { WlqError } from "../error.ts";

/** onnxruntime with its class of tensors. */
export type Runtime = Ort & {
  readonly Tensor: new (type: string, data: unknown, dims: readonly number[]) => OrtTensor;
};

/** onnxruntime as the folder that we are called in has it installed, or as lies beside this package. */
export async function findRuntime(): Promise<Runtime> {
  for (const from of [join(process.cwd(), "package.json"), import.meta.url]) {
    for (const name of ["onnxruntime-node", "onnxruntime-web"]) {
      let path: string;
      try {
        path = createRequire(from).resolve(name);
      } catch {
        continue;
      }
      const module = (await import(pathToFileURL(path).href)) as { default?: Runtime } & Runtime;
      const ort = module.InferenceSession ? module : (module.default as Runtime);
      const { env } = ort as unknown as { env?: { wasm?: { numThreads?: number }; logLevel?: string } };
      // sums of a thread each would come together in another order
      if (env?.wasm) env.wasm.numThreads = 1;
      if (name === "onnxruntime-web") await startFrugally(ort);
      return ort;
    }
  }
  throw new WlqError("not-found", "calibration runs the model: install onnxruntime-web or onnxruntime-node");
}

// V8 compiles a Wasm function anew, optimized, when the bytes of code that it ran through have used up its budget: by
// default so many functions of onnxruntime's 14 MB that this takes longer than the runs. With a hundred times that, the
// kernels have used it up after a run or two, and hardly anything else ever has.
const BUDGET = 200_000_000;

// A call counts the function's length up to where it returns, a quarter of the budget at most, by the flag as it is when
// the function is compiled the first time. Cast is one function of 490 kB for all pairs of types: models that reckon with
// shapes call it a few hundred times for a handful of numbers, and compiling it takes 3 s and 200 MB. A call that counts
// 10 kB at most leaves it as it is.
const BUDGET_OF_CALLS = 40_000;

/** Starts onnxruntime-web such that V8 optimizes what is hot alone. What a run gives is the same. */
async function startFrugally(ort: Ort): Promise<void> {
  const budget = (bytes: number): void => {
    try {
      setFlagsFromString(`--wasm-tiering-budget=${bytes}`);
    } catch {
      // not V8, or flags are fixed: it takes longer
    }
  };
  budget(BUDGET);
  // onnxruntime's functions get their budgets with the first session
  const session = await ort.InferenceSession.create(IDENTITY, { executionProviders: ["wasm"], logSeverityLevel: 3 });
  await session.release();
  budget(BUDGET_OF_CALLS);
}

/** The ONNX model y = Identity(x). */
const IDENTITY: Uint8Array = Buffer.from(
  "08083a2f0a100a017812017922084964656e7469747912" + "01675a0b0a017812060a0408011200620b0a017912060a04080112004202100d",
  "hex",
);
