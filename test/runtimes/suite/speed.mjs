// Speed inside a runtime: the first result after a cold import, and throughput held against the runtime's own memcpy.
import { weights } from "./models.mjs";

/**
 * Milliseconds from the import of `wlq` to a tensor of 10,000 weights quantized and decoded. Only true once a process.
 * An import that compiles or instantiates anything is an error.
 */
export async function firstResult(load) {
  const data = weights(10_000);
  const uncount = countWasm();
  const start = performance.now();
  const { quantize, dequantize } = await load("wlq");
  const calls = uncount();
  await dequantize(await quantize(data, { levels: 16 }));
  await tick();
  const time = performance.now() - start;
  if (calls.length > 0) throw new Error(`the import called WebAssembly.${calls.join(", ")}`);
  return time;
}

/** Counts what is compiled and instantiated until the function it returns is called. */
function countWasm() {
  const calls = [];
  const originals = {};
  for (const name of ["compile", "compileStreaming", "instantiate", "instantiateStreaming", "Module", "Instance"]) {
    const original = WebAssembly[name];
    if (!original) continue;
    originals[name] = original;
    WebAssembly[name] = new Proxy(original, {
      apply(target, self, args) {
        calls.push(name);
        return Reflect.apply(target, self, args);
      },
      construct(target, args) {
        calls.push(name);
        return Reflect.construct(target, args);
      },
    });
  }
  return () => {
    Object.assign(WebAssembly, originals);
    return calls;
  };
}

const COUNT = 1 << 22;

/**
 * 4M weights at 16 levels: the fastest of some rounds, in milliseconds a call. Each round repeats until a coarse clock is
 * fine enough, and waits before it reads the clock: workerd's stands still between events.
 */
export async function throughput(load) {
  const { quantize, dequantizeSync, quantizeSync, init } = await load("wlq");
  await init();
  const data = weights(COUNT);
  const out = new Float32Array(COUNT);
  const q = await quantize(data, { levels: 16 });
  const works = {
    wait: [1, () => {}],
    memcpy: [12, () => out.set(data)],
    decode: [8, () => dequantizeSync(q, out)],
    quantize: [2, () => quantizeSync(data, { levels: 16 })],
  };
  const best = {};
  for (let round = 0; round < 6; round++) {
    for (const [name, [times, work]] of Object.entries(works)) {
      await tick();
      const start = performance.now();
      for (let i = 0; i < times; i++) work();
      await tick();
      const time = performance.now() - start;
      // the first round warms up
      if (round > 0) best[name] = Math.min(best[name] ?? Infinity, time);
    }
  }
  const each = (name) => (best[name] - best.wait) / works[name][0];
  return { memcpyMs: each("memcpy"), decodeMs: each("decode"), quantizeMs: each("quantize") };
}

const tick = () => new Promise((resolve) => setTimeout(resolve, 1));
