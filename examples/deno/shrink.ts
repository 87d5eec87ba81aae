// Shrinks a checkpoint on disk or behind a URL; README.md has the permissions that it needs, which are few.
import { compress, httpSource, WlqError } from "wlq";
import { fileSink, fileSource } from "wlq/node";
import { onnx } from "wlq/onnx";

const [input, output] = Deno.args;
if (!input || !output) {
  console.error("usage: shrink.ts MODEL OUT");
  Deno.exit(2);
}
try {
  // of a URL only ranges are fetched, a few megabytes at a time: the checkpoint never lies on this disk
  const source = /^https?:/.test(input) ? await httpSource(input) : await fileSource(input);
  // OUT has another name until it is whole, and that file is gone if anything fails
  const report = await compress(source, fileSink(output), { formats: [onnx()], levels: 64, scale: "channel" });
  for (const { name, kept, stats } of report.tensors) {
    console.log(`${name}: ${stats ? `${stats.sqnrDb?.toFixed(1) ?? "exact"} dB` : kept}`);
  }
  console.log(`${report.bytesIn} -> ${report.bytesOut} bytes, ${report.ratio.toFixed(2)}x`);
} catch (error) {
  if (!(error instanceof WlqError)) throw error;
  console.error(`${error.code}: ${error.message}`);
  Deno.exit(3);
}
