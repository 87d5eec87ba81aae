// The kernels of rounds against plain TypeScript, SIMD against scalar, with memory under guard.
import { expect, test } from "vitest";
import { onSlq, sameBits } from "../kernels/instances.ts";
import { Random } from "../kernels/random.ts";
import * as plain from "../reference/freeze.ts";
import { seedRound } from "../reference/reference-slq.ts";

const COUNTS = [
  0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 47, 48, 63, 64, 65, 100, 2047, 2048, 2049, 2064, 4096, 5000,
];
const LEVELS = [1, 2, 3, 5, 9, 15, 16, 17, 31, 32, 33, 64, 255, 256];

interface Case {
  readonly weights: Float32Array;
  readonly mask: Uint8Array;
  readonly codes: Uint8Array;
  readonly codebook: Float32Array;
  readonly levels: number;
}

/** Frozen weights mostly at their values, some moved: by a digit, in the sign of zero, to NaN. */
function randomCase(random: Random, count: number, levels: number): Case {
  const codebook = new Float32Array(256);
  codebook.set(random.floats(levels));
  const codes = random.bytes(count, levels);
  const mask = random.bytes(count, 2);
  const weights = Float32Array.from(codes, (c, i) => (mask[i] ? random.float() : (codebook[c] as number)));
  if (count > 0 && random.below(2) === 0) {
    for (let n = random.below(4); n >= 0; n--) {
      const i = random.below(count);
      weights[i] = random.pick([
        Number.NaN,
        -(weights[i] as number),
        random.float(),
        (weights[i] as number) * 1.0000001,
      ]);
    }
  }
  return { weights, mask, codes, codebook, levels };
}

function eachCase(seed: number, work: (c: Case, random: Random) => void): void {
  const random = new Random(seed);
  for (const levels of LEVELS) for (const count of COUNTS) work(randomCase(random, count, levels), random);
}

test("freeze", () => {
  eachCase(1, ({ weights, mask, codes, codebook, levels }, random) => {
    const freezes = new Uint8Array(256);
    for (let c = 0; c < levels; c++) freezes[c] = random.below(2) * 255;
    const [w, m] = onSlq((i) => {
      const at = i.inout(weights);
      const maskAt = i.inout(mask);
      i.kernels.freeze(at, maskAt, i.input(codes), weights.length, i.input(codebook), levels, i.input(freezes));
      return [i.f32(at, weights.length), i.u8(maskAt, mask.length)] as const;
    });
    const wantW = weights.slice();
    const wantM = mask.slice();
    plain.freeze(wantW, wantM, codes, codebook, freezes);
    sameBits([w, m], [wantW, wantM]);
  });
});

test("snap and firstMoved", () => {
  eachCase(2, ({ weights, mask, codes, codebook, levels }) => {
    const [w, moved, first] = onSlq((i) => {
      const at = i.inout(weights);
      const rest = [i.input(mask), i.input(codes), weights.length, i.input(codebook), levels] as const;
      const before = i.kernels.firstMoved(at, ...rest) >>> 0;
      const count = i.kernels.snap(at, ...rest) >>> 0;
      return [i.f32(at, weights.length), count, before] as const;
    });
    const want = weights.slice();
    expect(first).toBe(plain.firstMoved(want, mask, codes, codebook));
    expect(moved).toBe(plain.snap(want, mask, codes, codebook));
    sameBits(w, want);
  });
});

test("every place of a moved weight is found", () => {
  for (const levels of [9, 17, 64]) {
    for (const count of [40, 67]) {
      for (let at = 0; at < count; at++) {
        const random = new Random(at);
        const codebook = new Float32Array(256);
        codebook.set(random.normals(levels));
        const codes = random.bytes(count, levels);
        const weights = Float32Array.from(codes, (c) => codebook[c] as number);
        weights[at] = 7;
        const got = onSlq((i) => {
          return i.kernels.firstMoved(
            i.input(weights),
            i.input(new Uint8Array(count)),
            i.input(codes),
            count,
            i.input(codebook),
            levels,
          );
        });
        expect(got).toBe(at);
      }
    }
  }
});

test("freezeBeyond", () => {
  eachCase(3, ({ weights, mask }, random) => {
    for (const below of [false, true]) {
      const limit = Math.abs(weights.length > 0 && random.below(2) ? random.pick([...weights]) || 0 : random.normal());
      const got = onSlq((i) => {
        const at = i.inout(mask);
        i.kernels.freezeBeyond(at, i.input(weights), weights.length, limit, below ? 1 : 0);
        return i.u8(at, mask.length);
      });
      const want = mask.slice();
      plain.freezeBeyond(want, weights, Math.fround(limit), below);
      sameBits(got, want);
    }
  });
});

test("countFree and takeFree", () => {
  eachCase(4, ({ weights, mask }) => {
    for (const absolute of [false, true]) {
      const [free, taken, values] = onSlq((i) => {
        const out = i.output(weights.length * 4, 4);
        const maskAt = i.input(mask);
        const n = i.kernels.takeFree(out, i.input(weights), maskAt, weights.length, absolute ? 1 : 0);
        return [i.kernels.countFree(maskAt, mask.length), n, i.f32(out, n)] as const;
      });
      const want = plain.takeFree(weights, mask, absolute);
      expect([free, taken]).toEqual([want.length, want.length]);
      sameBits(values, want);
    }
  });
});

test("halfOctaves", () => {
  const random = new Random(5);
  for (const count of COUNTS) {
    const weights = random.floats(count);
    const table = onSlq((i) => {
      const at = i.inout(new Uint32Array(2048));
      i.kernels.halfOctaves(at, i.input(weights), count);
      return i.u32(at, 2048);
    });
    const pairs = new BigUint64Array(table.buffer);
    const want = plain.halfOctaves(weights);
    expect(Array.from({ length: 512 }, (_, c) => Number(pairs[2 * c]))).toEqual(want.counts);
    expect(Array.from({ length: 512 }, (_, c) => Number(pairs[2 * c + 1]))).toEqual(want.sums);
  }
});

test("countMagnitudes and countLower", () => {
  const random = new Random(6);
  for (const count of COUNTS) {
    const weights = random.floats(count);
    const cell = count > 0 ? (new Uint32Array(weights.buffer)[random.below(count)] as number) & 0x7fffffff : 0;
    const [cells, lower] = onSlq((i) => {
      const a = i.inout(new Uint32Array(32768));
      const b = i.inout(new Uint32Array(65536));
      const src = i.input(weights);
      i.kernels.countMagnitudes(a, src, count);
      i.kernels.countLower(b, src, count, cell >>> 16);
      return [i.u32(a, 32768), i.u32(b, 65536)] as const;
    });
    const wantCells = new Uint32Array(32768);
    const wantLower = new Uint32Array(65536);
    for (const b of new Uint32Array(weights.buffer)) {
      const magnitude = b & 0x7fffffff;
      (wantCells[magnitude >>> 16] as number)++;
      if (magnitude >>> 16 === cell >>> 16) (wantLower[magnitude & 0xffff] as number)++;
    }
    sameBits([cells, lower], [wantCells, wantLower]);
  }
});

test("one step of the seed's k-means", () => {
  const random = new Random(7);
  for (const k of [3, 5, 17, 33, 255]) {
    for (const count of COUNTS) {
      const weights = random.normals(count);
      const centroids = random.normals(k);
      const [codes, sums, counts] = onSlq((i) => {
        const codesAt = i.output(count);
        const sumsAt = i.inout(new Float32Array(k));
        const countsAt = i.inout(new Uint32Array(k));
        const src = i.input(weights);
        i.kernels.referenceAssign(codesAt, src, count, i.input(centroids), k);
        i.kernels.referenceSums(sumsAt, countsAt, src, codesAt, count);
        return [i.u8(codesAt, count), i.f32(sumsAt, k), i.u32(countsAt, k)] as const;
      });
      const wantCodes = new Uint8Array(count);
      const wantSums = new Float32Array(k);
      const wantCounts = new Uint32Array(k);
      weights.forEach((x, i) => {
        let least = Number.POSITIVE_INFINITY;
        centroids.forEach((c, j) => {
          const d = Math.fround(x - c);
          if (Math.fround(d * d) < least) {
            least = Math.fround(d * d);
            wantCodes[i] = j;
          }
        });
        const j = wantCodes[i] as number;
        wantSums[j] = Math.fround((wantSums[j] as number) + x);
        (wantCounts[j] as number)++;
      });
      sameBits([codes, sums, counts], [wantCodes, wantSums, wantCounts]);
    }
  }
  expect(seedRound(random.normals(50), 5, 1, 5).tvec.length).toBe(50);
});
