// Shrinks a checkpoint, then reads single tensors out of the result: node shrink.mjs MODEL OUT
import process from "node:process";
import { compress } from "wlq";
import { open } from "wlq/decoder";
import { fileSink, fileSource } from "wlq/node";
import { onnx } from "wlq/onnx";

const [input, output] = process.argv.slice(2);
if (!output) throw new Error("usage: node shrink.mjs MODEL OUT");

// The file may be larger than memory: tensors are read in tiles. OUT takes its name when it is whole.
const model = await fileSource(input);
const report = await compress(model, fileSink(output), { formats: [onnx()], levels: 64, scale: "channel" });
await model.close();
for (const { name, shape, kept, stats } of report.tensors) {
  const what = stats
    ? `${stats.bitsPerWeight.toFixed(2)} bits/weight, ${stats.sqnrDb?.toFixed(1) ?? "exact"} dB`
    : kept;
  console.log(`${name} [${shape.join(", ")}]: ${what}`);
}
console.log(`${report.bytesIn} -> ${report.bytesOut} bytes, ${report.ratio.toFixed(2)}x`);

// What an application does later: nothing but the header is read until a tensor is asked for.
const small = await fileSource(output);
const tensors = await open(small);
const [name] = tensors.names.filter((n) => tensors.info(n).levels);
if (name) {
  const { data, shape } = await tensors.tensor(name);
  console.log(`${name} again: ${data.constructor.name} [${shape.join(", ")}], first value ${data[0]}`);
}
await small.close();
