// The conformance suite: walks the public surface of the package and names a hash of everything that comes out.
// No test framework and nothing of a runtime: it runs as it is wherever `load(name)` gives a module of the package.
import { bytesOf, caffeModel, concat, onnxModel, safetensorsModel, safetensorsOf, weights } from "./models.mjs";

/** Modules that the suite loads. */
export const MODULES = ["wlq", "wlq/decoder", "wlq/onnx", "wlq/caffe", "wlq/slq"];

/**
 * Runs all of it.
 *
 * @param load a module by its import path
 * @param kernels for `init` and `initSlq`; absent: the kernels load by themselves, at first use
 * @returns SHA-256 by name, hexadecimal; the same in every runtime, or something is wrong
 */
export async function conform(load, kernels) {
  const [wlq, decoder, onnx, caffe, slq] = await Promise.all(MODULES.map((name) => load(name)));
  if (kernels) {
    await wlq.init(kernels);
    await slq.initSlq(kernels);
  }
  const hashes = {};
  const note = async (name, ...parts) => {
    hashes[name] = await sha256(parts);
  };
  const modules = { wlq, decoder, slq, formats: [onnx.onnx(), caffe.caffe()] };
  for (const part of [tensors, optionsAndErrors, files, decoding, rounds, aborting]) await part(note, modules);
  return hashes;
}

/** Whether two threads, of a model that is worth them, give the bytes of one; and what the report says of them. */
export async function threaded(load) {
  const [{ compress }, { threads }] = await Promise.all([load("wlq"), load("wlq/threads")]);
  // tensors that threads share, and some that each has for itself
  const model = new Blob([safetensorsOf({ large: [2300, 1000], a: [600, 1000], b: [600, 1000], c: [600, 1000] })]);
  const [alone, together] = [memorySink(), memorySink()];
  await compress(model, alone);
  const { warnings } = await compress(model, together, { threads: threads(2) });
  const same = (await sha256([alone.bytes()])) === (await sha256([together.bytes()]));
  return `${same ? "the same" : "other"} bytes, ${warnings.join() || "by two threads"}`;
}

/** SHA-256 over parts, each a typed array or plain data (as JSON). */
async function sha256(parts) {
  const bytes = parts.map((part) =>
    ArrayBuffer.isView(part) ? bytesOf(part) : new TextEncoder().encode(JSON.stringify(part)),
  );
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", concat(bytes)));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A WritableStream that keeps what it gets. */
function memorySink() {
  const chunks = [];
  const sink = new WritableStream({
    write(chunk) {
      chunks.push(chunk.slice());
    },
    abort(reason) {
      sink.aborted = reason;
    },
  });
  sink.bytes = () => concat(chunks);
  return sink;
}

/** What of the statistics is made by basic arithmetic; decibels and entropy are logarithms of the engine's own. */
const exactStats = ({ count, sumSquares, mse, maxError, bitsPerWeight, counts, errors }) => [
  { count, sumSquares, mse, maxError, bitsPerWeight },
  counts,
  errors,
];

const QUANTIZATIONS = {
  "16 levels": {},
  "2 levels": { levels: 2 },
  "3 levels": { levels: 3 },
  "17 levels, zero pinned": { levels: 17, pinZero: true },
  "64 levels": { levels: 64 },
  "256 levels": { bits: 8 },
  lloyd: { method: "lloyd", levels: 9 },
  "lloyd from quantiles": { method: "lloyd", start: "quantile", levels: 33, steps: 12 },
  uniform: { method: "uniform", levels: 32 },
  "codebook a channel": { granularity: "channel", levels: 8 },
  "codebook a channel, last axis": { granularity: "channel", axis: -1, levels: 4 },
  "codebook a group": { granularity: "group", groupSize: 100, levels: 8 },
  "scale a channel": { scale: "channel", levels: 16 },
  "scale a group": { scale: "group", groupSize: 64, levels: 32 },
};

/** Large enough that vectors, tiles and tables are all in use. */
async function tensors(note, { wlq }) {
  const { quantize, quantizeSync, dequantize, dequantizeSync, unpackCodes } = wlq;
  const tensor = { data: weights(300 * 271), shape: [300, 271] };
  const importance = weights(300 * 271, 77).map(Math.abs);
  const cases = { ...QUANTIZATIONS, importance: { levels: 16, importance } };
  for (const [name, options] of Object.entries(cases)) {
    const q = await quantize(tensor, options);
    const scale = q.scale?.values ?? new Float32Array(0);
    const back = await dequantize(q);
    await note(`quantize: ${name}`, q.codebook, scale, q.codes, ...exactStats(q.stats));
    await note(`dequantize: ${name}`, back, unpackCodes(q));
    if (name === "16 levels") {
      const again = quantizeSync(tensor, options);
      await note("synchronous", again.codebook, again.codes, dequantizeSync(again, new Float32Array(back.length)));
    }
  }
  for (const count of [0, 1, 3, 4, 5, 31]) {
    const q = await quantize(weights(count, 50 + count), { levels: 4 });
    await note(`quantize: ${count} weights`, q.codebook, q.codes, await dequantize(q));
  }
  const special = Float32Array.of(-0, 0, 1e-42, -1e-42, 3.4e38, -3.4e38, 1, 1);
  const q = await quantize(special, { levels: 8 });
  await note("quantize: zeros, denormals and extremes", q.codebook, q.codes, await dequantize(q));
}

async function optionsAndErrors(note, { wlq, decoder, formats }) {
  const { quantize, compress, decompress, WlqError } = wlq;
  const model = safetensorsModel();
  const damaged = model.slice(0, model.length - 7);
  const small = memorySink();
  await compress(model, small);
  const flipped = small.bytes();
  flipped[flipped.length - 3000] ^= 1;
  const cases = {
    levels: () => quantize(weights(9), { levels: 1 }),
    "levels and bits": () => quantize(weights(9), { levels: 3, bits: 2 }),
    kind: () => quantize([1, 2, 3]),
    shape: () => quantize({ data: weights(9), shape: [2, 4] }),
    NaN: () => quantize(Float32Array.of(1, Number.NaN)),
    infinity: () => quantize(Float32Array.of(1, 2, -Infinity)),
    truncated: () => compress(damaged, memorySink()),
    "no model": () => compress(new Uint8Array(100).fill(200), memorySink(), { formats }),
    empty: () => compress(new Uint8Array(0), memorySink(), { formats }),
    twice: () => compress(small.bytes(), memorySink()),
    "integers named": () => compress(model, memorySink(), { include: /steps/ }),
    "in graph of safetensors": () => compress(model, memorySink(), { to: "onnx" }),
    checksum: () => decompress(flipped, memorySink()),
    "no such tensor": async () => (await decoder.open(small.bytes())).tensor("nothing"),
    "not a container": () => decoder.open(model),
  };
  const seen = {};
  for (const [name, work] of Object.entries(cases)) {
    seen[name] = await work().then(
      () => "no error",
      (error) => (error instanceof WlqError ? `${error.name} ${error.code} ${error.tensor ?? ""}` : error.name),
    );
  }
  await note("errors", seen);
}

async function files(note, { wlq, formats }) {
  const { compress, decompress, inspect, verify } = wlq;
  const models = { safetensors: safetensorsModel(), onnx: onnxModel(), caffe: caffeModel() };
  const settings = {
    default: {},
    "16 levels, codebooks a channel": { levels: 16, granularity: "channel", scale: "none" },
    rules: { levels: 8, tensors: [{ match: /head|w2|fc1/, options: { levels: 256, scale: "none" } }] },
  };
  for (const [format, model] of Object.entries(models)) {
    await note(`${format}: the model itself`, model);
    for (const [name, options] of Object.entries(settings)) {
      const sink = memorySink();
      const report = await compress(model, sink, { formats, ...options });
      const container = sink.bytes();
      await note(`${format}: container, ${name}`, container);
      const tensorReports = report.tensors.map(({ stats, ...rest }) => [rest, stats ? exactStats(stats)[0] : null]);
      await note(`${format}: report, ${name}`, report.bytesIn, report.bytesOut, tensorReports);
      const restored = memorySink();
      await decompress(new Blob([container]), restored, { formats });
      await note(`${format}: decompressed, ${name}`, restored.bytes());
      const { ok } = await verify(container, model, { formats });
      const { tensors, compressed } = await inspect(container, { formats });
      await note(`${format}: inspected, ${name}`, { ok, compressed, tensors });
    }
    const dense = memorySink();
    await compress(model, dense, { formats, to: "dense", levels: 16 });
    await note(`${format}: dense`, dense.bytes());
  }
  const inGraph = memorySink();
  await compress(models.onnx, inGraph, { formats, to: "onnx", levels: 16 });
  await note("onnx: decoded in the graph", inGraph.bytes());
}

async function decoding(note, { wlq, decoder }) {
  const sink = memorySink();
  await wlq.compress(safetensorsModel(), sink);
  const bytes = sink.bytes();
  // a source of ranges, as over HTTP
  const source = {
    byteLength: bytes.length,
    slice: async (start, end) => bytes.slice(start, end).buffer,
  };
  const model = await decoder.open(source);
  await note("decoder: header", model.format, model.metadata, model.names, model.names.map(model.info));
  for await (const { name, data } of model.tensors()) await note(`decoder: ${name}`, data);
  const { data } = await model.tensor("head.weight", { as: "dtype" });
  await note("decoder: head.weight in its own dtype", data);
}

async function rounds(note, { slq }) {
  const { createSlq, resumeSlq, presets } = slq;
  const settings = {
    slq: { ...presets.slq, levels: 5 },
    eslq: { ...presets.eslq, levels: 9, partition: "error" },
    inq: { ...presets.inq, levels: 9 },
    mlq: { ...presets.mlq, schedule: { states: "depth-first" }, partition: "error" },
    reference: { ...presets.reference, levels: 9 },
    pruned: { levels: 9, prune: { sparsity: 0.7 } },
  };
  for (const [name, options] of Object.entries(settings)) {
    const layers = { fc1: weights(9001, 20), fc2: weights(3003, 21) };
    let engine = await createSlq(layers, options);
    while (!engine.done) {
      const report = await engine.next();
      await note(`rounds: ${name}, ${report.round}`, layers.fc1, layers.fc2, engine.masks.fc1, engine.masks.fc2);
      // "training": free weights shrink
      for (const [layer, mask] of Object.entries(engine.masks)) {
        const data = layers[layer];
        for (let i = 0; i < data.length; i++) if (mask[i]) data[i] *= 0.96875;
      }
      const state = engine.save();
      await note(`rounds: ${name}, state after ${report.round}`, state);
      if (!engine.done && report.round === 1) engine = await resumeSlq(state, layers);
    }
  }
}

async function aborting(note, { wlq }) {
  const controller = new AbortController();
  const sink = memorySink();
  const seen = [];
  const onProgress = ({ phase, done, total }) => {
    seen.push([phase, done, total]);
    if (phase === "write") controller.abort();
  };
  const code = await wlq.compress(safetensorsModel(), sink, { signal: controller.signal, onProgress }).then(
    () => "no error",
    (error) => error.code,
  );
  await note("abort", code, sink.aborted?.code ?? "not aborted", seen);
}
