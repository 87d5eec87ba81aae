// Plan: the price of a bit for 50 tensors of a million weights each, by the real sizes of their codes; wall clock.
import process from "node:process";
import { init, plan } from "../dist/index.js";

const SIDE = 1024;
const TENSORS = 50;

/** Weights like Laplace's or, of every other tensor, about normal, rows of several powers; xorshift, no logarithm of chance. */
function weights(seed) {
  let state = seed + 1;
  const next = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
  return Float32Array.from({ length: SIDE * SIDE }, (_, i) => {
    const power = (1 + seed / 10) * (0.5 + (Math.floor(i / SIDE) % 7) / 7);
    const sum = next() + next() - next() - next();
    return power * (seed % 2 ? sum : sum * Math.abs(sum));
  });
}

function modelOf(count) {
  const tensors = Array.from({ length: count }, (_, i) => weights(i));
  const bytes = SIDE * SIDE * 4;
  const entry = (_, i) => [`w${i}`, { dtype: "F32", shape: [SIDE, SIDE], data_offsets: [i * bytes, (i + 1) * bytes] }];
  const text = JSON.stringify(Object.fromEntries(tensors.map(entry)));
  const json = Buffer.from(text + " ".repeat(-text.length & 7));
  const size = Buffer.alloc(8);
  size.writeUInt32LE(json.length);
  return new Uint8Array(Buffer.concat([size, json, ...tensors.map(({ buffer }) => Buffer.from(buffer))]));
}

await init();
const model = modelOf(TENSORS);
for (const scale of ["none", "channel"]) {
  for (const target of [{ bitsPerWeight: 3 }, { bitsPerWeight: 4 }, { sqnrDb: 20 }]) {
    const start = performance.now();
    const { bitsPerWeight, sqnrDb, tradeOff } = await plan(model, target, { method: "ecsq", scale });
    const seconds = ((performance.now() - start) / 1000).toFixed(2);
    const reached = `${bitsPerWeight.toFixed(3)} bits, ${sqnrDb?.toFixed(2)} dB, trials: ${tradeOff.length}`;
    process.stdout.write(
      `plan, 52M weights, scale ${scale}, ${JSON.stringify(target)}: ${seconds} s  goal 3 s  ${reached}\n`,
    );
  }
}
