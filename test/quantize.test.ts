// Quantize: whatever the shape and the options, codes are nearest, statistics are true, and both builds agree.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { QuantizedTensor, QuantizeOptions } from "../src/index.ts";
import { dequantize, quantize, wlq } from "./both-builds.ts";
import { onEncoders, sameBits } from "./kernels/instances.ts";
import { partition, partitionCost } from "./kernels/partition.ts";
import { Random } from "./kernels/random.ts";
import { nearestCode } from "./reference/codebook.ts";
import { optimal } from "./reference/optimal.ts";
import { sortedPoints } from "./reference/points.ts";
import { scaleCodebook } from "./reference/scale.ts";
import { unpack } from "./reference/unpack.ts";

const product = (dims: readonly number[]): number => dims.reduce((a, b) => a * b, 1);

/** Group of each element, from its position along the axis or its place in the row. */
function groupsOf(
  shape: readonly number[],
  by: "none" | "tensor" | "channel" | "group",
  axis: number,
  groupSize: number,
): number[] {
  const inner = product(shape.slice(axis + 1));
  return Array.from({ length: product(shape) }, (_, element) => {
    if (by === "group") return Math.floor(element / groupSize);
    if (by === "channel" && shape.length > 0) return Math.floor(element / inner) % (shape[axis] as number);
    return 0;
  });
}

/**
 * Throws unless the code is the nearest value's, the lowest among equals. The values of a scaled codebook may overflow
 * at the ends; an infinity is nearest to nothing.
 */
function expectNearest(x: number, code: number, values: Float32Array, exactly: boolean): void {
  // float64 differences: exact for weights and values of similar size, so this side is for data of that kind
  const distance = (c: number): number => Math.abs(x - (values[c] ?? Number.POSITIVE_INFINITY));
  const own = distance(code);
  let right = own < Number.POSITIVE_INFINITY && distance(code - 1) > own && distance(code + 1) >= own;
  if (exactly) {
    const finite = values.filter((value) => Number.isFinite(value));
    right = code - values.indexOf(finite[0] as number) === nearestCode(x, finite);
  }
  if (!right) throw new Error(`the code of ${x} is ${code} in ${values.join()}`);
}

/** Everything that must hold for every quantized tensor. `exactly`: codes by exact distances, which is slow. */
function check(
  data: Float32Array,
  shape: readonly number[],
  options: QuantizeOptions,
  q: QuantizedTensor,
  exactly = true,
): void {
  const { levels, codebook, scale, stats } = q;
  const count = data.length;
  const rank = shape.length;
  const axis = ((options.axis ?? 0) + rank) % Math.max(1, rank);
  const granularity = options.granularity ?? "tensor";
  const groupSize = options.groupSize ?? 64;
  const books = groupsOf(shape, granularity, axis, groupSize);
  const factors = groupsOf(shape, options.scale ?? "none", axis, groupSize);

  // the codebook: ascending values, +0 only, padded with the last
  const bookCount =
    granularity === "group"
      ? Math.ceil(count / groupSize)
      : granularity === "channel" && rank > 0
        ? (shape[axis] as number)
        : 1;
  expect(codebook.length).toBe(bookCount * levels);
  for (let i = 0; i < codebook.length; i++) {
    const value = codebook[i] as number;
    const ascends = i % levels === 0 || value >= (codebook[i - 1] as number);
    if (!Number.isFinite(value) || Object.is(value, -0) || !ascends)
      throw new Error(`codebook[${i}] is ${value} in ${codebook.join()}`);
  }
  expect(q.bits).toBe(Math.max(1, Math.ceil(Math.log2(levels))));
  expect(q.codes.length).toBe(Math.ceil((count * q.bits) / 8));
  if (scale) expect(scale.values.every((s) => s >= 0 && s <= 65504)).toBe(true);

  // codes: the nearest of the values that the decoder will give
  const codes = unpack(q.codes, count, q.bits);
  sameBits(wlq.unpackCodes(q), codes, "unpackCodes");
  const decoders = new Map<number, Float32Array>();
  const want = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    const key = scale ? (factors[i] as number) : (books[i] as number);
    let values = decoders.get(key);
    if (!values) {
      values = scale
        ? scaleCodebook(codebook, scale.values[key] as number, 0)
        : codebook.subarray(key * levels, (key + 1) * levels);
      decoders.set(key, values);
    }
    const code = codes[i] as number;
    expectNearest(data[i] as number, code, values, exactly);
    want[i] = values[code] as number;
  }
  const back = dequantize(q);
  sameBits(back, want, "dequantizeSync");

  // statistics, computed anew
  let error = 0;
  let squares = 0;
  let worst = 0;
  let cross = 0;
  let energy = 0;
  const counts = new Float64Array(levels);
  for (let i = 0; i < count; i++) {
    const [x, y] = [data[i] as number, back[i] as number];
    error += (x - y) ** 2;
    squares += x * x;
    cross += x * y;
    energy += y * y;
    worst = Math.max(worst, Math.abs(x - y));
    (counts[codes[i] as number] as number) += 1;
  }
  expect(stats.count).toBe(count);
  sameBits(stats.counts, counts);
  close(stats.mse, count > 0 ? error / count : 0);
  close(stats.maxError, worst);
  close(
    stats.errors.reduce((a, b) => a + b, 0),
    error,
  );
  if (error === 0) expect(stats.sqnrDb).toBe(null);
  else close(stats.sqnrDb as number, 10 * Math.log10(squares / error));
  const scaleBits = scale ? scale.values.length * 16 : 0;
  close(stats.bitsPerWeight, count > 0 ? (count * q.bits + codebook.length * 32 + scaleBits) / count : 0);
  let entropy = 0;
  for (const n of counts) if (n > 0) entropy -= (n / count) * Math.log2(n / count);
  expect(stats.entropyBits).toBeCloseTo(entropy, 9);
  // from sums of squares: digits go where the values are far smaller than the weights
  if (squares > 0 && energy > 0) {
    const off = Math.abs(stats.cosine - cross / Math.sqrt(squares * energy));
    expect(off).toBeLessThan(1e-9 + 1e-14 * Math.sqrt(squares / energy));
  } else expect(stats.cosine).toBe(squares > 0 ? 0 : 1);
}

/** Equal but for the order of sums. */
function close(got: number, want: number): void {
  if (!(Math.abs(got - want) <= 1e-11 * Math.abs(want) + 1e-300)) throw new Error(`got ${got}, want ${want}`);
}

interface Case {
  readonly data: Float32Array;
  readonly shape: readonly number[];
  readonly options: QuantizeOptions;
}

const KINDS = ["normal", "any bits", "integers", "constant", "zeros", "spike", "far"] as const;

function makeData(kind: (typeof KINDS)[number], count: number, random: Random): Float32Array {
  switch (kind) {
    case "normal":
      return random.normals(count);
    case "any bits": // squares of the largest float32 stay finite in float64
      return random.floats(count);
    case "integers":
      return Float32Array.from({ length: count }, () => random.below(9) - 4);
    case "constant":
      return new Float32Array(count).fill(random.normal());
    case "zeros":
      return Float32Array.from({ length: count }, () => random.pick([0, -0]));
    case "spike":
      return Float32Array.from({ length: count }, () => (random.below(3) > 0 ? random.pick([0, -0]) : random.normal()));
    case "far":
      return random.normals(count).map((x) => 100 + 0.01 * x);
  }
}

const cases: fc.Arbitrary<Case> = fc
  .record({
    shape: fc.array(fc.nat({ max: 7 }), { maxLength: 4 }),
    kind: fc.constantFrom(...KINDS),
    seed: fc.nat(),
    size: fc.oneof(
      fc.record({ levels: fc.integer({ min: 2, max: 256 }) }),
      fc.record({ levels: fc.integer({ min: 2, max: 17 }) }),
      fc.record({ bits: fc.integer({ min: 1, max: 8 }) }),
    ),
    by: fc.oneof(
      fc.record({ granularity: fc.constantFrom("tensor" as const, "channel" as const, "group" as const) }),
      fc.record({ scale: fc.constantFrom("channel" as const, "group" as const) }),
    ),
    axis: fc.integer({ min: -4, max: 3 }),
    groupSize: fc.constantFrom(1, 2, 3, 7, 16, 64, 1000),
    pinZero: fc.boolean(),
    method: fc.constantFrom("optimal" as const, "optimal" as const, "lloyd" as const, "uniform" as const),
    start: fc.constantFrom("linear" as const, "quantile" as const),
    steps: fc.nat({ max: 20 }),
    weighted: fc.constantFrom("no", "no", "yes", "zero"),
  })
  .map(({ shape, kind, seed, size, by, axis, weighted, ...rest }) => {
    const random = new Random(seed);
    const count = product(shape);
    const data = makeData(kind, count, random);
    const rank = Math.max(1, shape.length);
    const importance =
      weighted === "no"
        ? {}
        : {
            importance: Float32Array.from(data, () =>
              weighted === "zero" ? 0 : random.pick([0, 1, random.unit(), 1e-20, 1e20]),
            ),
          };
    return {
      data,
      shape,
      options: { ...rest, ...size, ...by, ...importance, axis: axis < 0 ? -1 - ((-1 - axis) % rank) : axis % rank },
    };
  })
  // rank 0 has no axis, negative or not
  .map((c) => (c.shape.length === 0 ? { ...c, options: { ...c.options, axis: 0 } } : c));

test("600 random tensors: every shape, granularity, scale, axis, method", () => {
  fc.assert(
    fc.property(cases, ({ data, shape, options }) => {
      const q = quantize({ data, shape }, options);
      expect(q.shape).toEqual(shape);
      check(data, shape, options, q);
      if (options.pinZero) {
        const back = dequantize(q);
        data.forEach((x, i) => {
          if (x === 0 && !Object.is(back[i], 0)) throw new Error(`zero ${i} became ${back[i]}`);
        });
      }
    }),
    { numRuns: 600, seed: 1 },
  );
});

test("few distinct values cost nothing, whatever shares them", () => {
  fc.assert(
    fc.property(cases, fc.integer({ min: 1, max: 16 }), fc.nat(), ({ shape, options }, levels, seed) => {
      const random = new Random(seed);
      const { importance: _, bits: __, scale: ___, ...rest } = options;
      const pinZero = rest.pinZero ?? false;
      const distinct = random.floats(pinZero ? levels : levels + 1);
      const data = Float32Array.from({ length: product(shape) }, () => random.pick([...distinct]));
      const own = { ...rest, levels: levels + 1, method: "optimal" as const };
      const q = quantize({ data, shape }, own);
      check(data, shape, own, q, false);
      sameBits(
        dequantize(q).map((x) => x + 0),
        data.map((x) => x + 0),
      );
      expect(q.stats).toMatchObject({ mse: 0, sqnrDb: null, maxError: 0 });
    }),
    { numRuns: 300, seed: 2 },
  );
});

test.each([1, 2, 200, 255, 256])("%d distinct values among 70,000 weights cost nothing", (distinct) => {
  const random = new Random(3);
  const values = [...random.floats(distinct - 1), 0];
  const data = Float32Array.from({ length: 70_000 }, () => random.pick(values));
  for (const pinZero of [false, true]) {
    const q = quantize(data, { levels: 256, pinZero });
    sameBits(
      dequantize(q).map((x) => x + 0),
      data.map((x) => x + 0),
    );
    expect(q.stats.sqnrDb).toBe(null);
  }
});

test("a group's codebook is that of its weights alone", () => {
  fc.assert(
    fc.property(cases, ({ data, shape, options }) => {
      const { scale: _, importance, axis, ...rest } = options;
      if (rest.granularity === undefined || data.length === 0) return;
      const q = quantize({ data, shape }, { ...options });
      const groups = groupsOf(
        shape,
        rest.granularity,
        ((axis ?? 0) + shape.length) % Math.max(1, shape.length),
        options.groupSize ?? 64,
      );
      for (const g of new Set(groups)) {
        const members = data.filter((_, i) => groups[i] === g);
        const weights = importance?.filter((_, i) => groups[i] === g);
        const alone = quantize(members, {
          ...rest,
          granularity: "tensor",
          ...(weights ? { importance: weights } : {}),
        });
        sameBits(q.codebook.subarray(g * q.levels, (g + 1) * q.levels), alone.codebook, `group ${g}`);
      }
    }),
    { numRuns: 300, seed: 4 },
  );
});

describe("sizes around tiles and around the switch from sorting to a histogram", () => {
  const SIZES = [0, 1, 15, 16, 17, 16383, 16384, 16385, 32767, 32768, 32769, 65535, 65536, 65537];

  test.each(SIZES)("%d weights", (count) => {
    const random = new Random(5);
    const data = random.normals(count);
    const importance = data.map((x) => x * x + 0.01);
    for (const options of [
      {},
      { bits: 3 },
      { levels: 100, pinZero: true },
      { importance },
      { scale: "group", groupSize: 100 },
    ] as QuantizeOptions[]) {
      check(data, [count], options, quantize(data, options), false);
    }
  });

  test.each([16383, 16384, 16385])("%d weights: within 1.0001 of the optimum by all atoms", (count) => {
    const data = new Random(6).normals(count);
    const importance = data.map((x) => x * x + 0.01);
    for (const [weights, pins] of [
      [undefined, []],
      [importance, []],
      [undefined, [0]],
    ] as [Float32Array | undefined, number[]][]) {
      const points = sortedPoints([...data], weights && [...weights]);
      const [bounds, kinds] = onEncoders((i) => partition(i, points, 16, pins, 32767));
      const best = partitionCost({ bounds, kinds }, points, pins);
      const q = quantize(data, { levels: 16, pinZero: pins.length > 0, ...(weights ? { importance: weights } : {}) });
      expect(costOf(q, data, weights) / best).toBeLessThanOrEqual(1.0001);
    }
  });
});

function costOf(q: QuantizedTensor, data: Float32Array, importance: Float32Array | undefined): number {
  let cost = 0;
  dequantize(q).forEach((y, i) => {
    cost += (importance?.[i] ?? 1) * ((data[i] as number) - y) ** 2;
  });
  return cost;
}

describe("long channels and many groups", () => {
  const random = new Random(7);

  test.each([
    { shape: [3, 20_000], axis: 0 },
    { shape: [20_000, 3], axis: 1 },
    { shape: [2, 3, 10_000], axis: 1 },
    { shape: [700, 3, 40], axis: -2 },
  ])("shape $shape, axis $axis: each channel as alone", ({ shape, axis }) => {
    const data = random.normals(product(shape));
    {
      const options = { granularity: "channel" as const, axis, levels: 9 };
      const q = quantize({ data, shape }, options);
      check(data, shape, options, q, false);
      const groups = groupsOf(shape, "channel", (axis + shape.length) % shape.length, 0);
      for (let g = 0; g < 3; g++) {
        const alone = quantize(
          data.filter((_, i) => groups[i] === g),
          { levels: 9 },
        );
        sameBits(q.codebook.subarray(g * 9, g * 9 + 9), alone.codebook);
      }
    }
    const options = { scale: "channel" as const, axis, levels: 9 };
    check(data, shape, options, quantize({ data, shape }, options), false);
  });

  test.each([
    { shape: [15_000], options: { granularity: "group", groupSize: 3 } },
    { shape: [24_001], options: { granularity: "group", groupSize: 8 } },
    { shape: [2, 5_000, 2], options: { granularity: "channel", axis: 1 } },
    { shape: [9_000, 2], options: { granularity: "channel", axis: 0 } },
    { shape: [70_001], options: { scale: "group", groupSize: 7 } },
    { shape: [2, 5_000, 2], options: { scale: "channel", axis: 1 } },
  ] as { shape: number[]; options: QuantizeOptions }[])(
    "$shape with $options at 256 levels: more codebooks than are held at once",
    ({ shape, options }) => {
      const data = random.normals(product(shape));
      const all = { ...options, levels: 256 };
      check(data, shape, all, quantize({ data, shape }, all), false);
    },
  );
});

describe("importance", () => {
  test("300 small tensors: the weighted cost is the oracle's", () => {
    const random = new Random(8);
    let changed = 0;
    for (let n = 0; n < 300; n++) {
      const data = random.normals(2 + random.below(60));
      const importance = Float32Array.from(data, () => random.pick([random.unit() ** 4, 1, 30]));
      const pinZero = n % 3 === 0;
      const levels = 2 + random.below(7);
      const q = quantize(data, { levels, pinZero, importance });
      const { cost } = optimal([...data], [...importance], levels, pinZero ? [0] : []);
      const got = costOf(q, data, importance);
      // codebooks are float32: a centroid's rounding costs its square
      expect(got).toBeLessThanOrEqual(cost * (1 + 1e-6) + 1e-12);
      expect(got).toBeGreaterThanOrEqual(cost * (1 - 1e-9) - 1e-12);
      if (costOf(quantize(data, { levels, pinZero }), data, importance) > cost * 1.01 + 1e-9) changed++;
    }
    expect(changed).toBeGreaterThan(100);
  });

  test("where no weight counts, all count the same", () => {
    const random = new Random(9);
    for (const count of [1, 50, 20_000, 70_000]) {
      const data = random.normals(count);
      const q = quantize(data, { levels: 9, importance: new Float32Array(count) });
      sameBits(q.codebook, quantize(data, { levels: 9 }).codebook);
    }
    const data = random.normals(40);
    const importance = Float32Array.from(data, (_, i) => (i < 20 ? 0 : 1 + (i % 3)));
    const q = quantize(data, { levels: 3, granularity: "group", groupSize: 20, importance });
    sameBits(q.codebook.subarray(0, 3), quantize(data.subarray(0, 20), { levels: 3 }).codebook);
  });

  test("a common factor changes nothing but rounding, also with a scale", () => {
    const random = new Random(10);
    const shape = [16, 300];
    const data = random.normals(4800).map((x, i) => x * 2 ** -(Math.floor(i / 300) % 5));
    const importance = Float32Array.from(data, () => random.unit() + 0.1);
    for (const scale of ["none", "channel"] as const) {
      const one = quantize({ data, shape }, { scale, importance });
      const thousand = quantize({ data, shape }, { scale, importance: importance.map((h) => h * 1024) });
      expect(costOf(thousand, data, importance) / costOf(one, data, importance)).toBeCloseTo(1, 3);
    }
  });

  test("a scale's channel is as good where it counts little", () => {
    const random = new Random(11);
    const shape = [32, 512];
    const data = random.normals(32 * 512).map((x, i) => x * 2 ** -(Math.floor(i / 512) % 8));
    const importance = Float32Array.from(data, (_, i) => 10 ** (Math.floor(i / 512) % 5));
    const even = quantize({ data, shape }, { scale: "channel" }).stats.mse;
    const uneven = quantize({ data, shape }, { scale: "channel", importance }).stats.mse;
    expect(uneven / even).toBeLessThan(1.2);
    expect(quantize({ data, shape }, {}).stats.mse / even).toBeGreaterThan(1.5);
  });
});

describe("refusals", () => {
  const bad = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];

  test.each([1, 40, 16384, 16385, 70_000, 600_000])("the first of %d weights that is not finite is named", (count) => {
    const random = new Random(12);
    const data = random.normals(count);
    const places = count < 50 ? [...data.keys()] : [0, 1, count >> 1, count - 1, random.below(count)];
    for (const at of places) {
      const spoilt = data.slice();
      spoilt[at] = random.pick(bad);
      spoilt[count - 1] = Number.NaN;
      const later = at + random.below(count - at);
      spoilt[later] = later === at ? (spoilt[at] as number) : Number.NaN;
      for (const options of [
        {},
        { method: "uniform" },
        { granularity: "group", groupSize: 30 },
        { scale: "group" },
      ] as QuantizeOptions[]) {
        const first = spoilt.findIndex((x) => !Number.isFinite(x));
        expect(() => quantize(spoilt, options)).toThrow(
          expect.objectContaining({
            name: "WlqError",
            code: "non-finite",
            message: `weight ${first} is ${spoilt[first]}`,
          }),
        );
      }
    }
  });

  test("a failed call leaves the library as it was", () => {
    const data = new Random(13).normals(1000);
    const before = quantize(data, {});
    expect(() => quantize(Float32Array.of(Number.NaN))).toThrow("weight 0 is NaN");
    sameBits(quantize(data, {}).codes, before.codes);
  });

  const data = new Float32Array(6);
  const shape = [2, 3];
  const cases: [QuantizeOptions, typeof RangeError | typeof TypeError, string][] = [
    [{ levels: 1 }, RangeError, "levels must be an integer from 2 to 256, got 1"],
    [{ levels: 257 }, RangeError, "got 257"],
    [{ levels: 2.5 }, RangeError, "got 2.5"],
    [{ levels: Number.NaN }, RangeError, "got NaN"],
    [{ bits: 0 }, RangeError, "bits must be an integer from 1 to 8, got 0"],
    [{ bits: 9 }, RangeError, "got 9"],
    [{ bits: 4, levels: 17 }, RangeError, "levels 17 and bits 4"],
    [{ granularity: "row" as never }, RangeError, "granularity must be one of tensor, channel, group, got row"],
    [{ scale: "tensor" as never }, RangeError, "scale must be one of none, channel, group, got tensor"],
    [{ method: "best" as never }, RangeError, "got best"],
    [{ start: "random" as never }, RangeError, "got random"],
    [{ scale: "channel", granularity: "channel" }, RangeError, 'needs granularity "tensor", got "channel"'],
    [{ granularity: "channel", axis: 2 }, RangeError, "axis 2 is outside the shape [2, 3]"],
    [{ granularity: "channel", axis: -3 }, RangeError, "axis -3"],
    [{ granularity: "channel", axis: 0.5 }, RangeError, "axis 0.5"],
    [{ groupSize: 0 }, RangeError, "groupSize must be a positive integer, got 0"],
    [{ groupSize: 1.5 }, RangeError, "got 1.5"],
    [{ steps: -1 }, RangeError, "steps must be a non-negative integer, got -1"],
    [{ importance: new Float32Array(5) }, RangeError, "importance has 5 values for 6 weights"],
    [{ importance: [1, 1, 1, 1, 1, 1] as never }, TypeError, "importance must be a Float32Array"],
    [{ importance: Float32Array.of(1, 1, -1, 1, 1, 1) }, RangeError, "importance 2 is -1"],
    [{ importance: Float32Array.of(1, 1, 1, 1, Number.NaN, 1) }, RangeError, "importance 4 is NaN"],
  ];
  test.each(cases)("%j", (options, kind, message) => {
    const call = (): unknown => wlq.quantizeSync({ data, shape }, options);
    expect(call).toThrow(kind);
    expect(call).toThrow(message);
  });

  test("wrong weights, shapes, outputs and contradictions in a quantized tensor: both sides are named", () => {
    expect(() => wlq.quantizeSync([1, 2] as never)).toThrow(TypeError);
    expect(() => wlq.quantizeSync({ data: [1], shape: [1] } as never)).toThrow(TypeError);
    expect(() => wlq.quantizeSync({ data, shape: [7] })).toThrow(/\[7\].*6/);
    expect(() => wlq.quantizeSync({ data, shape: [-2, -3] })).toThrow(/-2/);
    const q = wlq.quantizeSync({ data, shape });
    expect(() => wlq.dequantizeSync(q, new Float32Array(5))).toThrow(/5.*6/);
    expect(() => wlq.dequantizeSync(q, new Float64Array(6) as never)).toThrow(TypeError);
    expect(() => wlq.dequantizeSync({ ...q, codes: q.codes.subarray(1) })).toThrow(/6.*4.*3.*2/);
    expect(() => wlq.dequantizeSync({ ...q, codebook: q.codebook.subarray(1) })).toThrow(/15.*16/);
    expect(() => wlq.dequantizeSync({ ...q, scale: { per: "channel", values: new Float32Array(3) } })).toThrow(/3.*2/);
    expect(() => wlq.unpackCodes({ ...q, codes: q.codes.subarray(1) })).toThrow(RangeError);
  });
});

test("the caller's array is filled, the caller's weights are not changed, the promises give the same", async () => {
  const data = new Random(14).normals(40_000);
  const copy = data.slice();
  const q = quantize(data, { bits: 5 });
  const out = new Float32Array(40_000);
  expect(wlq.dequantizeSync(q, out)).toBe(out);
  sameBits(out, dequantize(q));
  sameBits(data, copy);
  sameBits((await wlq.quantize(data, { bits: 5 })).codes, q.codes);
  sameBits(await wlq.dequantize(q), out);
});
