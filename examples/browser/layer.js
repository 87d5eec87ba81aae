// A layer: its weights counted in bins, and the codebook that stands for them, read from the model and its container.
import { tensorStream } from "./wlq/index.js";

const BINS = 192;

/** A container is a safetensors file: what every tensor's name leads to, as docs/format.md says. */
async function openContainer(blob) {
  const size = Number(new DataView(await blob.slice(0, 8).arrayBuffer()).getBigUint64(0, true));
  const header = JSON.parse(await blob.slice(8, 8 + size).text());
  const bytesOf = (name) => {
    const [start, end] = header[name].data_offsets;
    return blob.slice(8 + size + start, 8 + size + end).arrayBuffer();
  };
  return { coded: JSON.parse(header.__metadata__["wlq.tensors"]), bytesOf };
}

function fromFloat16(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
}

const FLOATS = {
  F32: (bytes) => new Float32Array(bytes),
  F64: (bytes) => new Float64Array(bytes),
  F16: (bytes) => Float32Array.from(new Uint16Array(bytes), fromFloat16),
  BF16: (bytes) => new Float32Array(Uint32Array.from(new Uint16Array(bytes), (bits) => bits << 16).buffer),
};

/**
 * @returns bins from `low` to `high`, the codebook and how many weights take each of its values. Behind a scale, weights
 * are shown as the codebook sees them: divided by their channel's scale.
 */
export async function layerOf(model, container, name, formats) {
  const { coded, bytesOf } = await openContainer(container);
  const { dtype, shape, codebook: codebookName, scales, axis } = coded[name];
  const codebook = FLOATS.F32(await bytesOf(codebookName));
  const scale = scales && FLOATS.F16(await bytesOf(scales));
  const weightsOf = async (source) => {
    const { body } = await tensorStream(source, name, { formats });
    const weights = FLOATS[dtype](await new Response(body).arrayBuffer());
    if (scale) divide(weights, scale, shape, axis);
    return weights;
  };
  const weights = await weightsOf(model);
  let [low, high] = [codebook[0], codebook.at(-1)];
  for (const w of weights) {
    if (w < low) low = w;
    else if (w > high) high = w;
  }
  const bins = new Uint32Array(BINS);
  const factor = BINS / (high - low || 1);
  for (const w of weights) bins[Math.min(BINS - 1, Math.floor((w - low) * factor))]++;
  const unit = scales ? " × scale" : "";
  return {
    name,
    count: weights.length,
    low,
    high,
    bins,
    codebook,
    counts: countValues(await weightsOf(container), codebook),
    unit,
  };
}

function divide(weights, scale, shape, axis) {
  const inner = shape.slice(axis + 1).reduce((product, n) => product * n, 1);
  for (let i = 0; i < weights.length; i++) {
    const s = scale[Math.floor(i / inner) % scale.length];
    if (s > 0) weights[i] /= s;
  }
}

/** How often each value stands in a restored tensor: of a calibrated one not always the nearest to what was there. */
function countValues(weights, codebook) {
  const limits = Array.from(codebook.subarray(1), (value, i) => (codebook[i] + value) / 2);
  const counts = new Uint32Array(codebook.length);
  for (const w of weights) {
    let [from, to] = [0, limits.length];
    while (from < to) {
      const middle = (from + to) >> 1;
      if (limits[middle] < w) from = middle + 1;
      else to = middle;
    }
    counts[from]++;
  }
  return counts;
}
