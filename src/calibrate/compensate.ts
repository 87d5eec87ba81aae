// Compensate: one tensor's codes by nearest-plane rounding, then values and codes refined in turns.
import type { OutputError } from "../calibration.ts";
import type { Coding } from "../codebook.ts";
import type { CalibrateScope } from "../wasm/calibrate.ts";
import { Blocks, type CompensateOptions, LANES, type Part } from "./blocks.ts";
import { fitValues } from "./fit.ts";
import { heldOutErrors } from "./held-out.ts";
import type { LayerStatistics, Moments } from "./statistics.ts";

/** A tensor's codes, one byte each, with the codebook and scales that they are for. */
export interface Compensated {
  readonly codebook: Float32Array;
  readonly scale: Float32Array | undefined;
  readonly codes: Uint8Array;
  readonly output: OutputError;
  /** Error power over output power to expect of other inputs: by the damped matrix. */
  readonly expected: number;
  /** The outputs' power, all outputs together. */
  readonly power: number;
  readonly shift: Float32Array | undefined;
}

// A bit more a weight leaves a quarter of the error: its derivative, over the error.
const STEEPNESS = 2 * Math.LN2;

/** Chooses codes for `weights`, given a coding whose codebook was found before; `heldOut` only says what they are worth. */
export function compensate(
  scope: CalibrateScope,
  statistics: LayerStatistics,
  weights: Float32Array,
  coding: Coding,
  options: CompensateOptions,
  heldOut?: Moments,
): Compensated {
  const mark = scope.mark();
  try {
    return choose(new Blocks(scope, statistics, weights, coding, options), heldOut);
  } finally {
    scope.release(mark);
  }
}

function choose(b: Blocks, heldOut: Moments | undefined): Compensated {
  const { groups } = b.statistics.layer;
  const each = b.outputs / groups;
  const parts = Array.from({ length: groups }, (_, group) => {
    const part: Part = { group, first: group * each, last: (group + 1) * each, damping: b.damping(group) };
    return part;
  });
  const total = (of: (part: Part) => number): number => parts.reduce((sum, part) => sum + of(part), 0);
  const power = total((part) => powerOf(b, part));
  const nearest = total((part) => round(b, part, false));
  let error = nearest;
  if (b.matrix) {
    const rounded = b.state();
    b.scope.f64(b.prices, b.levels).fill(0);
    error = total((part) => round(b, part, true));
    if (b.options.rate > 0) {
      price(b, error);
      error = total((part) => round(b, part, true));
    }
    for (let turn = 0; turn <= b.options.turns; turn++) {
      // on inputs with few directions the damping may cost more than the planes gain
      if (error > nearest) {
        b.restore(rounded);
        error = nearest;
      }
      if (turn === b.options.turns) break;
      const last = b.state();
      price(b, error);
      const before = error + b.priceOfCodes();
      const refined = refine(b, parts);
      if (!(refined + b.priceOfCodes() < before)) {
        b.restore(last);
        break;
      }
      error = refined;
    }
  }
  const others = heldOut && heldOutErrors(b, parts, heldOut);
  return {
    codebook: b.codebook,
    scale: b.scale,
    codes: b.scope.u8(b.codes, b.outputs * b.columns).slice(),
    output: {
      sqnrDb: decibel(power, error),
      nearestDb: decibel(power, nearest),
      ...(others ? { heldOutDb: decibel(others.power, others.error) } : {}),
    },
    power,
    expected: expectedOf(b, parts, error, power),
    shift: b.options.shiftable ? shiftOf(b, each) : undefined,
  };
}

function decibel(power: number, error: number): number | null {
  return error > 0 ? 10 * Math.log10(power / error) : null;
}

/** Prices of codes by how frequent they are now. */
function price(b: Blocks, error: number): void {
  const count = b.outputs * b.columns;
  b.scope.kernels.codePrices(b.prices, b.codes, count, b.levels, (b.options.rate * STEEPNESS * error) / count);
}

/** The outputs' power. */
function powerOf(b: Blocks, part: Part): number {
  b.fill(part);
  let power = 0;
  b.eachBlock(part, (lanes) => {
    power += b.form(b.block, lanes, part);
  });
  return power;
}

/** Error over power, both by the damped matrices: but for a factor those are what is known of other inputs. */
function expectedOf(b: Blocks, parts: readonly Part[], error: number, power: number): number {
  let [most, all] = [error, power];
  for (const part of parts) {
    b.arrange(part.group);
    b.eachBlock(part, (lanes) => {
      most += part.damping * b.dots(b.errors, b.errors, lanes);
      all += part.damping * b.dots(b.block, b.block, lanes);
    });
  }
  return all > 0 ? most / all : 0;
}

/** Codes of a part's outputs from the weights, by planes or each to its nearest value; returns the error. */
function round(b: Blocks, part: Part, planes: boolean): number {
  b.arrange(part.group);
  const { scope } = b;
  const mark = scope.mark();
  const tiles = planes ? scope.reserve(32 * b.stride) : 0;
  const factored = planes && factor(b, part, tiles);
  b.eachBlock(part, () => {
    b.scope.kernels.nearestPlane(
      b.blockCodes,
      b.errors,
      b.block,
      factored ? b.matrix : 0,
      b.columns,
      b.stride,
      b.values,
      b.borders,
      b.levels,
      factored && b.options.rate > 0 ? b.prices : 0,
      b.small,
    );
  });
  if (planes) {
    scope.kernels.restoreMatrix(b.matrix, tiles, b.stride);
    b.filled = part.group;
  }
  scope.release(mark);
  b.fill(part);
  let error = 0;
  b.eachBlock(part, (lanes) => {
    error += b.form(b.errors, lanes, part);
  });
  return error;
}

/**
 * R of the damped matrix, with more damping where pivots run out; false where there is nothing to factor. `tiles`: where
 * what the matrix is restored from is kept.
 */
function factor(b: Blocks, part: Part, tiles: number): boolean {
  const scope = b.scope;
  const mark = scope.mark();
  const scratch = scope.reserve(b.stride * 256);
  let done = false;
  b.fill(part);
  scope.kernels.keepDiagonal(tiles, b.matrix, b.stride);
  // the first try takes the matrix that is at hand
  for (let damping = part.damping, tries = 0; !done && tries < 8 && damping > 0; tries++, damping *= 10) {
    b.fill({ ...part, damping });
    done = scope.kernels.cholesky(b.matrix, b.columns, b.stride, 0, scratch) === b.columns;
    b.filled = -1;
  }
  scope.release(mark);
  return done;
}

/** One turn: values by least squares, then codes by descent; returns the error. */
function refine(b: Blocks, parts: readonly Part[]): number {
  if (b.options.fit) fitValues(b, parts);
  let error = 0;
  for (const part of parts) {
    b.fill(part);
    b.eachBlock(part, (lanes) => {
      const { kernels } = b.scope;
      kernels.matrixProduct(b.gradients, b.matrix, b.errors, b.columns, b.stride);
      kernels.descend(
        b.blockCodes,
        b.errors,
        b.gradients,
        b.matrix,
        b.columns,
        b.stride,
        b.values,
        b.borders,
        b.levels,
        b.options.rate > 0 ? b.prices : 0,
        b.options.sweeps,
        b.small,
      );
      error += b.dots(b.errors, b.gradients, lanes) - part.damping * b.dots(b.errors, b.errors, lanes);
    });
  }
  return error;
}

/** Per output: sum of error times mean input. */
function shiftOf(b: Blocks, each: number): Float32Array {
  const { mean } = b.statistics;
  const columns = b.columns;
  const shift = new Float32Array(b.outputs);
  const order = b.scope.i32(b.order, columns);
  for (let c = 0; c < columns; c++) order[c] = c;
  b.arranged = -1;
  b.eachBlock({ group: 0, first: 0, last: b.outputs, damping: 0 }, (lanes, o) => {
    const errors = b.scope.f64(b.errors, columns * LANES);
    for (let lane = 0; lane < lanes; lane++) {
      const from = Math.floor((o + lane) / each) * columns;
      let sum = 0;
      for (let c = 0; c < columns; c++) sum += (errors[c * LANES + lane] as number) * (mean[from + c] as number);
      shift[o + lane] = sum;
    }
  });
  return shift;
}
