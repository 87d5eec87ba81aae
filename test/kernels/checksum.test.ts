// Checksum: XXH64 against the published vectors and the step-by-step reference, every length, in every build.
import { expect, test } from "vitest";
import { xxh64 } from "../reference/checksum.ts";
import { BUILDS, onDecoders, onEncoders, onePage } from "./instances.ts";
import { Random } from "./random.ts";

const PRIME32 = 2654435761n;

/** The sanity buffer of xxhsum (github.com/Cyan4973/xxHash, cli/xsum_sanity_check.c). */
function sanityBuffer(length: number): Uint8Array {
  let state = PRIME32;
  return Uint8Array.from({ length }, () => {
    const byte = Number(state >> 56n);
    state = BigInt.asUintN(64, state * 11400714785074694797n);
    return byte;
  });
}

/** As published there; the texts are those of other implementations' tests. */
const VECTORS: readonly { bytes: Uint8Array; seed: bigint; hash: bigint }[] = [
  { bytes: sanityBuffer(0), seed: 0n, hash: 0xef46db3751d8e999n },
  { bytes: sanityBuffer(0), seed: PRIME32, hash: 0xac75fda2929b17efn },
  { bytes: sanityBuffer(1), seed: 0n, hash: 0xe934a84adb052768n },
  { bytes: sanityBuffer(1), seed: PRIME32, hash: 0x5014607643a9b4c3n },
  { bytes: sanityBuffer(4), seed: 0n, hash: 0x9136a0dca57457een },
  { bytes: sanityBuffer(14), seed: 0n, hash: 0x8282dcc4994e35c8n },
  { bytes: sanityBuffer(14), seed: PRIME32, hash: 0xc3bd6bf63deb6df0n },
  { bytes: sanityBuffer(222), seed: 0n, hash: 0xb641ae8cb691c174n },
  { bytes: sanityBuffer(222), seed: PRIME32, hash: 0x20cb8ab7ae10c14an },
  { bytes: new TextEncoder().encode("a"), seed: 0n, hash: 0xd24ec4f1a98c6e5bn },
  { bytes: new TextEncoder().encode("abc"), seed: 0n, hash: 0x44bc2cf5ad770999n },
  { bytes: new TextEncoder().encode("Nobody inspects the spammish repetition"), seed: 0n, hash: 0xfbcea83c8a378bf1n },
];

/** In all four builds. A Wasm i64 comes out signed. */
function kernel(bytes: Uint8Array, seed: bigint): bigint {
  const encoded = onEncoders((i) => i.kernels.xxh64(i.input(bytes), bytes.length, seed));
  expect(onDecoders((i) => i.kernels.xxh64(i.input(bytes), bytes.length, seed))).toBe(encoded);
  return BigInt.asUintN(64, encoded);
}

test("published vectors, by the reference", () => {
  for (const { bytes, seed, hash } of VECTORS) expect(xxh64(bytes, seed)).toBe(hash);
});

test("whole blocks of 32 bytes, seeds of 64 bits, by the kernels", () => {
  const random = new Random(110);
  const bytes = random.bytes(32 * 40);
  for (let length = 32; length <= bytes.length; length += 32) {
    const part = bytes.subarray(0, length);
    const seed = (BigInt(random.bits()) << 32n) | BigInt(random.bits());
    for (const s of [0n, seed]) expect(kernel(part, s), `${length} bytes`).toBe(xxh64(part, s));
  }
});

test.each(BUILDS.filter((build) => /^(en|de)code/.test(build)))(
  "%s reads nothing beyond the last byte, at the end of memory",
  (build) => {
    const { xxh64: hash, memory } = onePage(build);
    const end = memory.buffer.byteLength;
    const zeros = new Uint8Array(96);
    for (const length of [32, 64, 96]) {
      expect(BigInt.asUintN(64, hash(end - length, length, 0n))).toBe(xxh64(zeros.subarray(0, length), 0n));
    }
  },
);
