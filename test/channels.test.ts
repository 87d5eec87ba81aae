// Channels out of their rows: every width, run and range, against plain indexing.
import { expect, test } from "vitest";
import { takeChannels } from "../src/channels.ts";
import { Random } from "./kernels/random.ts";

test("channels of any part of a tensor come one after another", async () => {
  const random = new Random(5);
  for (let round = 0; round < 600; round++) {
    const [outer, groups, inner] = [1 + random.below(70), 1 + random.below(40), random.pick([1, 1, 2, 3, 9, 20, 33])];
    const width = random.pick([2, 4, 8]);
    const first = random.below(groups);
    const last = first + 1 + random.below(groups - first);
    const from = random.below(outer);
    const to = from + 1 + random.below(outer - from);
    // bytes that do not begin where elements do
    const bytes = random.bytes(outer * groups * inner * width + 3).subarray(3);
    const reads: number[] = [];
    const read = async (start: number, end: number): Promise<Uint8Array> => {
      reads.push(end - start);
      return bytes.subarray(start, end);
    };
    const got = await takeChannels(
      read,
      { count: outer * groups * inner, groups, inner, outer },
      width,
      first,
      last,
      from,
      to,
    );
    const want: number[] = [];
    for (let c = first; c < last; c++) {
      for (let o = from; o < to; o++) {
        for (let b = 0; b < inner * width; b++) want.push(bytes[(o * groups + c) * inner * width + b]!);
      }
    }
    expect(Buffer.compare(got, Uint8Array.from(want))).toBe(0);
    expect(reads.length).toBe(1);
  }
});

test("short rows are read many at once, of long ones the piece that is wanted", async () => {
  const reads: number[] = [];
  const read = async (start: number, end: number): Promise<Uint8Array> => {
    reads.push(end - start);
    return new Uint8Array(end - start);
  };
  // rows of 1 MiB, one channel of 4 bytes
  await takeChannels(read, { count: 10 << 18, groups: 1 << 18, inner: 1, outer: 10 }, 4, 7, 8, 0, 10);
  expect(reads.splice(0)).toEqual([4 << 20, 4 << 20, 2 << 20]);
  // rows of 8 MiB
  await takeChannels(read, { count: 3 << 21, groups: 1 << 21, inner: 1, outer: 3 }, 4, 0, 100, 1, 3);
  expect(reads.splice(0)).toEqual([400, 400]);
  // rows of 2 MiB, half a channel at most
  await takeChannels(read, { count: 3 << 19, groups: 8, inner: 1 << 16, outer: 3 }, 4, 2, 4, 0, 3);
  expect(reads.splice(0)).toEqual([1 << 19, 1 << 19, 1 << 19]);
});
