// Golden: the reference preset reproduces the seed's outputs to the bit, both ways of carrying centroids.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { golden } from "../../bench/data.ts";
import { createSlq, presets } from "../../src/slq/index.ts";
import { sixDigits } from "../../src/slq/reference.ts";
import { sameBits } from "../kernels/instances.ts";
import { Random } from "../kernels/random.ts";
import { seedRound, sixDigitText } from "../reference/reference-slq.ts";

const HERE1 = [1, 5, 9, 13, 15];
const HERE3 = [5, 9, 13, 15, 17];

function bytes(values: Float32Array | Uint8Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

function sha256(values: Float32Array | Uint8Array): string {
  return createHash("sha256").update(bytes(values)).digest("hex");
}

const sums = new Map(
  readFileSync("test/golden/sha256.txt", "utf8")
    .trim()
    .split("\n")
    .map((line) => line.split(/\s+/).reverse() as [string, string]),
);

function kernelFile(path: string): Float32Array {
  const buffer = readFileSync(`test/golden/${path}`);
  return new Float32Array(buffer.buffer.slice(buffer.byteOffset, buffer.byteOffset + buffer.length));
}

test("the input is the golden one", () => {
  const weights = golden(100_000);
  expect([...weights.subarray(0, 2)]).toEqual([0.007807043846696615, 0.02331162989139557]);
  const input = [...sums].find(([name]) => /input|^data/.test(name));
  if (input) expect(sha256(weights)).toBe(input[1]);
});

test.each(["exact", "text6"] as const)(
  "five rounds, centroids carried %s: kernels, codes, masks and weights",
  async (carry) => {
    const weights = golden(100_000);
    const slq = await createSlq({ w: weights }, { ...presets.reference, reference: { carry } });
    expect(slq.rounds).toBe(5);
    for (let round = 1; round <= 5; round++) {
      if (round > 1) {
        const before = slq.codebooks.w as Float32Array;
        const carried = carry === "exact" ? before : before.map((x) => Number(sixDigits(x)));
        sameBits(carried, kernelFile(`${carry}/it${round}_kernel_in.f32`), `kernel_in ${round}`);
      }
      const report = await slq.next();
      sameBits(slq.codebooks.w as Float32Array, kernelFile(`${carry}/it${round}_kernel.f32`), `kernel ${round}`);
      for (const [what, values] of [
        ["kernel.f32", slq.codebooks.w],
        ["mask.u8", slq.masks.w],
        ["data.f32", weights],
      ] as const) {
        expect(sha256(values as Float32Array), `${what} of round ${round}`).toBe(
          sums.get(`${carry}/it${round}_${what}`),
        );
      }
      expect(report.frozen).toBe([13523, 38637, 68712, 84199, 100000][round - 1]);
    }
    expect(slq.done).toBe(true);
    expect(new Set(weights).size).toBeLessThanOrEqual(17);
  },
);

test.each(["exact", "text6"] as const)("the codes, too, and a probe changes nothing: %s", async (carry) => {
  const slq = await createSlq({ w: golden(100_000) }, { ...presets.reference, reference: { carry } });
  for (let round = 1; round <= 5; round++) {
    const [probe] = await slq.probe();
    expect(sha256(probe?.codes as Uint8Array), `tvec of round ${round}`).toBe(sums.get(`${carry}/it${round}_tvec.u8`));
    await slq.next();
    sameBits(slq.codebooks.w as Float32Array, kernelFile(`${carry}/it${round}_kernel.f32`));
  }
});

test("any odd number of centroids, any here1 and here3: as the seed's loops", async () => {
  const random = new Random(71);
  for (const k of [3, 5, 9, 17, 33, 65, 255]) {
    for (let n = 0; n < 4; n++) {
      const count = 1 + random.below(3000);
      const start = random.normals(count).map((x) => x * (n % 2 ? 0.05 : 3));
      const rounds = 1 + random.below(4);
      const here3 = [...new Set(Array.from({ length: rounds - 1 }, () => 1 + random.below(k - 1)))]
        .sort((a, b) => a - b)
        .concat(k);
      const update = here3.map(() => random.below(k + 1));
      const mine = start.slice();
      const seed = start.slice();
      const carry = random.pick(["exact", "text6"] as const);
      const slq = await createSlq(
        { w: mine },
        { levels: k, schedule: { clusters: here3 }, reference: { carry, update } },
      );
      let carried: Float32Array | undefined;
      for (const [r, last] of here3.entries()) {
        const want = seedRound(seed, k, update[r] as number, last, carried);
        await slq.next({ snap: true });
        sameBits(slq.codebooks.w as Float32Array, want.kernel, `kernel, k ${k}`);
        sameBits(slq.masks.w as Uint8Array, want.mask, `mask, k ${k}`);
        sameBits(mine, seed, `weights, k ${k}`);
        carried = carry === "exact" ? want.kernel : want.kernel.map(sixDigitText);
        // training
        for (let i = 0; i < count; i++) {
          const step = random.normal() * 0.01;
          if (!want.mask[i]) continue;
          mine[i] = (mine[i] as number) + step;
          seed[i] = (seed[i] as number) + step;
        }
      }
    }
  }
});

test("the default here1 is the last here3", async () => {
  const a = golden(5000);
  const b = golden(5000);
  const one = await createSlq({ w: a }, presets.reference);
  const two = await createSlq({ w: b }, { levels: 17, schedule: { clusters: HERE3 }, reference: { update: HERE1 } });
  while (!one.done) {
    await one.next();
    await two.next();
    sameBits(a, b);
  }
});

test("six digits as C++ writes them: nearest, ties to even", () => {
  expect(sixDigits(2 ** -9)).toBe("1.95312e-3");
  const random = new Random(72);
  for (let e = -126; e < 127; e++) {
    for (const x of [2 ** e, -(2 ** e), 1.5 * 2 ** e, 1.0078125 * 2 ** e])
      expect(Number(sixDigits(x))).toBe(sixDigitText(x));
  }
  for (let n = 0; n < 20000; n++) {
    const x = random.float();
    expect(Object.is(Number(sixDigits(x)) + 0, sixDigitText(x) + 0), `${x}`).toBe(true);
  }
});
