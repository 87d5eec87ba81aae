// How well two models agree: lines, characters and output distributions; pure functions on what they read.
import type { Reading } from "./recognize.ts";

/** Texts beside texts. Lines are compared without leading and trailing spaces, see {@link compareTexts}. */
export interface TextAgreement {
  readonly countLines: number;
  /** Lines whose text is the same. */
  readonly lines: number;
  readonly countCharacters: number;
  /** 1 - (edits of all lines) / (characters of all expected lines), at least 0. */
  readonly characters: number;
}

/** A model's readings beside the float model's. */
export interface Agreement extends TextAgreement {
  /** Mean over all time steps of the Kullback-Leibler divergence, float model to this one, in nats. */
  readonly meanKl: number;
}

/** Probabilities below this count as this: a compressed model's exact zero would make the divergence infinite. */
export const KL_FLOOR = 1e-10;

/** Edits (insert, delete, replace one character) from `a` to `b`; Levenshtein 1966, by code points, two rows. */
export function editDistance(a: string, b: string): number {
  const from = Array.from(a);
  const to = Array.from(b);
  let above = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let row = 1; row <= from.length; row++) {
    const current = [row];
    for (let column = 1; column <= to.length; column++) {
      const replaced = (above[column - 1] as number) + (from[row - 1] === to[column - 1] ? 0 : 1);
      current.push(Math.min(replaced, (above[column] as number) + 1, (current[column - 1] as number) + 1));
    }
    above = current;
  }
  return above[to.length] as number;
}

/**
 * Compares texts line by line. Leading and trailing spaces do not count: the float model itself puts a borderline
 * space before or after a third of the lines, which tips over at the smallest change of any weight.
 */
export function compareTexts(expected: readonly string[], actual: readonly string[]): TextAgreement {
  if (expected.length !== actual.length) {
    throw new RangeError(`${actual.length} texts cannot be compared with ${expected.length}`);
  }
  let lines = 0;
  let edits = 0;
  let countCharacters = 0;
  expected.forEach((text, index) => {
    const wanted = text.trim();
    const distance = editDistance(wanted, (actual[index] as string).trim());
    if (distance === 0) lines++;
    edits += distance;
    countCharacters += Array.from(wanted).length;
  });
  const characters = countCharacters === 0 ? (edits === 0 ? 1 : 0) : Math.max(0, 1 - edits / countCharacters);
  return { countLines: expected.length, lines, countCharacters, characters };
}

/** Sum over the steps of KL(reference || other) in nats; both are `steps x classes`. */
export function sumKl(reference: Float32Array, other: Float32Array, floor: number = KL_FLOOR): number {
  if (reference.length !== other.length) {
    throw new RangeError(`${other.length} probabilities cannot be compared with ${reference.length}`);
  }
  let sum = 0;
  for (let index = 0; index < reference.length; index++) {
    const p = reference[index] as number;
    // A class below the floor adds at most floor * log(1 / floor) = 2.3e-9; most of the 6625 classes are skipped.
    if (p > floor) sum += p * Math.log(p / Math.max(other[index] as number, floor));
  }
  return sum;
}

/** What a model kept of the float model's readings of the same lines. */
export function agreement(reference: readonly Reading[], other: readonly Reading[]): Agreement {
  const texts = compareTexts(
    reference.map((reading) => reading.text),
    other.map((reading) => reading.text),
  );
  let divergence = 0;
  let steps = 0;
  reference.forEach((reading, index) => {
    divergence += sumKl(reading.probabilities, (other[index] as Reading).probabilities);
    steps += reading.probabilities.length / reading.countClasses;
  });
  return { ...texts, meanKl: steps === 0 ? 0 : divergence / steps };
}
