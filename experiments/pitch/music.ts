// Music: two seconds at a time of synthesized notes, some of instruments and noises that calibration does not get to hear.
import { createRandom, type Random } from "../../examples/ocr/random.ts";

export const RATE = 22_050;
/** What the model reads at a time. */
export const SAMPLES = 43_844;
/** Samples of one of the model's frames. */
export const HOP = 256;
/** Of MIDI: the lowest key of a piano. */
export const LOWEST = 21;
export const KEYS = 88;

export type Half = "seen" | "unseen";

interface Note {
  readonly key: number;
  readonly start: number;
  readonly end: number;
}

export interface Clip {
  readonly samples: Float32Array;
  readonly notes: readonly Note[];
}

type Instrument = (frequency: number, random: Random) => (seconds: number) => number;

const turn = (phase: number): number => Math.sin(2 * Math.PI * phase);

/** Strings that are struck: harmonics a little too high, the higher ones die sooner. */
const struck: Instrument = (frequency, random) => {
  const bright = random.between(1, 1.8);
  const decay = random.between(1, 3);
  return (t) => {
    let sum = 0;
    for (let k = 1; k <= 10 && k * frequency < RATE / 2; k++) {
      sum +=
        k ** -bright * Math.exp(-decay * (0.5 + k / 4) * t) * turn(k * frequency * Math.sqrt(1 + 2e-4 * k * k) * t);
    }
    return sum * Math.min(1, t / 0.004);
  };
};

/** Pipes: even harmonics, steady. */
const pipes: Instrument = (frequency, random) => {
  const ranks = [1, 2, 3, 4, 6, 8].map((k) => ({ k, loud: random.next() / k }));
  return (t) => {
    let sum = turn(frequency * t) / 2;
    for (const { k, loud } of ranks) if (k * frequency < RATE / 2) sum += loud * turn(k * frequency * t);
    return sum * Math.min(1, t / 0.02);
  };
};

/** Strings that are bowed: a rounded sawtooth that trembles and begins slowly. */
const bowed: Instrument = (frequency, random) => {
  const tremble = random.between(4.5, 6.5);
  const depth = random.between(0.002, 0.006);
  return (t) => {
    const phase = frequency * t - ((frequency * depth) / tremble) * Math.cos(2 * Math.PI * tremble * t);
    let sum = 0;
    for (let k = 1; k <= 14 && k * frequency < RATE / 2; k++) sum += turn(k * phase) / k;
    return sum * Math.min(1, t / 0.08);
  };
};

/** Reeds: odd harmonics. */
const reeds: Instrument = (frequency, random) => {
  const hollow = random.between(0.8, 1.3);
  return (t) => {
    let sum = 0;
    for (let k = 1; k <= 11 && k * frequency < RATE / 2; k += 2) sum += k ** -hollow * turn(k * frequency * t);
    return sum * Math.min(1, t / 0.04);
  };
};

/** A tone whose phase another one pushes, less and less. */
const modulated: Instrument = (frequency, random) => {
  const ratio = random.pick([1, 2, 3]);
  const index = random.between(0.2, 0.6);
  return (t) => Math.exp(-1.5 * t) * turn(frequency * t + index * Math.exp(-3 * t) * turn(ratio * frequency * t));
};

const INSTRUMENTS: Readonly<Record<Half, readonly Instrument[]>> = {
  seen: [struck, pipes],
  unseen: [bowed, reeds, modulated],
};

/** `count` clips; those of the unseen half have other instruments, are out of tune by up to a third of a semitone, and noisier. */
export function musicClips(half: Half, count: number, seed: number): Clip[] {
  const random = createRandom(seed);
  return Array.from({ length: count }, () => {
    const instrument = random.pick(INSTRUMENTS[half]);
    const tuning = half === "seen" ? 0 : random.between(-0.33, 0.33);
    const samples = new Float32Array(SAMPLES);
    const notes: Note[] = [];
    // one to three voices, a note after the other
    for (let voices = random.integer(1, 3); voices > 0; voices--) {
      for (let at = random.between(0, 0.3); at < 1.8; ) {
        const length = random.between(0.15, 0.8);
        const key = random.integer(40, 84);
        add(samples, instrument(440 * 2 ** ((key - 69 + tuning) / 12), random), at, length, random.between(0.3, 1));
        notes.push({ key, start: at, end: at + length });
        at += length + (random.next() < 0.2 ? random.between(0.05, 0.3) : 0);
      }
    }
    const peak = samples.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    const level = random.between(0.2, 0.9) / peak;
    const decibels = half === "seen" ? random.between(30, 60) : random.between(18, 40);
    const noise = 0.15 * 10 ** (-decibels / 20);
    const hum = half === "seen" ? 0 : noise;
    return {
      samples: samples.map((x, i) => level * x + noise * random.noise() + hum * turn((50 * i) / RATE)),
      notes,
    };
  });
}

function add(
  samples: Float32Array,
  tone: (seconds: number) => number,
  start: number,
  length: number,
  loud: number,
): void {
  const from = Math.floor(start * RATE);
  const until = Math.min(samples.length, Math.floor((start + length) * RATE));
  for (let i = from; i < until; i++) {
    // let go within ten milliseconds
    samples[i] = (samples[i] as number) + loud * tone((i - from) / RATE) * Math.min(1, (until - i) / (0.01 * RATE));
  }
}
