// The decoder reads what it is asked for: the header at open, one tensor's bytes and the checksums for a tensor.
import { expect, test } from "vitest";
import { open } from "../src/decoder.ts";
import { compress, type RangeSource } from "../src/index.ts";
import { bytesOf, safetensorsFile } from "./formats/safetensors-fixture.ts";
import { Random } from "./kernels/random.ts";
import { memorySink } from "./memory-sink.ts";

const random = new Random(21);
const SHAPE = [300, 400];

async function container(): Promise<Uint8Array<ArrayBuffer>> {
  const tensors = ["a", "b", "c"].map((name) => ({
    name,
    dtype: "F32",
    shape: SHAPE,
    bytes: bytesOf(random.normals(300 * 400)),
  }));
  const out = memorySink();
  await compress(safetensorsFile(tensors), out.sink, { levels: 16, scale: "channel", entropy: "none" });
  return out.bytes().slice();
}

test("open reads the header, tensor() that tensor and once the checksums", async () => {
  const file = await container();
  const reads: [start: number, end: number][] = [];
  const source: RangeSource = {
    byteLength: file.length,
    slice(start, end) {
      reads.push([start, end]);
      return file.slice(start, end).buffer;
    },
  };
  const bytes = (): number => reads.splice(0).reduce((sum, [start, end]) => sum + end - start, 0);
  const model = await open(source);
  // one read of at most 64 KiB holds the header of a small file
  expect(reads).toEqual([[0, 65536]]);
  bytes();
  expect(model.names).toEqual(["a", "b", "c"]);
  const { byteLength } = model.info("b");
  expect(byteLength).toBe(16 * 4 + 300 * 2 + (300 * 400) / 2);
  expect(reads).toEqual([]);
  expect((await model.tensor("b")).shape).toEqual(SHAPE);
  const sums = file.length - (await lastTensorStart(file));
  expect(bytes()).toBe(byteLength + sums);
  await model.tensor("c");
  expect(bytes()).toBe(byteLength);
});

/** Where the checksums, the last tensor, begin. */
async function lastTensorStart(file: Uint8Array): Promise<number> {
  const size = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + size)));
  return 8 + size + header["__wlq__.checksums"].data_offsets[0];
}
