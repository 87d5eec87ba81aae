// Speech: synthesized clips with pauses and noise, some of voices and noises that calibration does not get to hear.
import { createRequire } from "node:module";
import { createRandom, type Random } from "../../examples/ocr/random.ts";
import { sentence } from "../../examples/ocr/sentences.ts";

export const RATE = 16_000;
export const SECONDS = 3;

/** eSpeak as JavaScript, as far as it is needed here. */
interface Speaker {
  loadConfig(config: unknown): void;
  loadVoice(voice: unknown): void;
  speak(text: string, options: object): number[];
}

const require = createRequire(import.meta.url);
const VOICES = { seen: ["en/en-us"], unseen: ["de", "fr", "it", "fi"] } as const;
const VARIANTS = { seen: ["m1", "m3", "f1", "f2"], unseen: ["m5", "m7", "f4", "croak"] } as const;

/** What is said: invented English, or its like read out by a voice of another language. */
export type Half = "seen" | "unseen";

/** A speaker with one voice, new each time: one that has said a few dozen sentences reads beyond its memory. */
function openSpeaker(voice: string): Speaker {
  for (const path of Object.keys(require.cache)) if (/mespeak.*\.js$/.test(path)) delete require.cache[path];
  const opened = require("mespeak") as Speaker;
  opened.loadConfig(require("mespeak/src/mespeak_config.json"));
  // English words are looked up in English by every voice
  for (const name of new Set([...VOICES.seen, voice])) opened.loadVoice(require(`mespeak/voices/${name}.json`));
  return opened;
}

/** `count` clips of float32 samples. Half of the time of each is silence under the noise, or nearly so. */
export function speechClips(half: Half, count: number, seed: number): Float32Array[] {
  const random = createRandom(seed);
  const utterances = Array.from({ length: count }, () => {
    const voice = random.pick(VOICES[half]);
    const wav = openSpeaker(voice).speak(sentence(random, "english"), {
      rawdata: "array",
      voice,
      variant: random.pick(VARIANTS[half]),
      pitch: random.integer(25, 75),
      speed: random.integer(130, 210),
    });
    return resampled(Uint8Array.from(wav));
  });
  return utterances.map((speech) => {
    const clip = new Float32Array(RATE * SECONDS);
    const start = random.integer(0, RATE);
    // a clip in eight has no speech at all
    if (random.next() > 1 / 8) {
      const loud = random.between(0.3, 1);
      speech.subarray(0, Math.min(RATE * 2, clip.length - start)).forEach((x, i) => {
        clip[start + i] = loud * x;
      });
    }
    const decibels = half === "seen" ? random.between(10, 40) : random.between(3, 30);
    const noise = half === "seen" ? hiss(random, clip.length) : babble(random, utterances, clip.length);
    const level = 0.1 * 10 ** (-decibels / 20);
    return clip.map((x, i) => Math.max(-1, Math.min(1, x + level * (noise[i] as number))));
  });
}

/** A wave file of 22 050 samples a second, 16 bits, as 16 000 a second, by straight lines behind a mean of two. */
function resampled(wav: Uint8Array): Float32Array {
  const view = new DataView(wav.buffer);
  const from = view.getUint32(24, true);
  const all = Math.floor((wav.length - 44) / 2);
  const at = (i: number): number => view.getInt16(44 + 2 * Math.max(0, Math.min(i, all - 1)), true) / 32_768;
  const smooth = (i: number): number => (at(i) + at(i - 1)) / 2;
  return Float32Array.from({ length: Math.floor((all * RATE) / from) }, (_, i) => {
    const place = (i * from) / RATE;
    const whole = Math.floor(place);
    return smooth(whole) + (place - whole) * (smooth(whole + 1) - smooth(whole));
  });
}

/** White noise, or rumbling. */
function hiss(random: Random, length: number): Float32Array {
  const memory = random.pick([0, 0.9, 0.98]);
  const gain = Math.sqrt(1 - memory * memory);
  let last = 0;
  return Float32Array.from({ length }, () => {
    last = memory * last + gain * random.noise();
    return last;
  });
}

/** Six others at once, and a hum of the mains. */
function babble(random: Random, utterances: readonly Float32Array[], length: number): Float32Array {
  const voices = Array.from({ length: 6 }, () => ({ of: random.pick(utterances), from: random.integer(0, RATE) }));
  return Float32Array.from({ length }, (_, i) => {
    let sum = Math.sin((2 * Math.PI * 50 * i) / RATE) / 2 + random.noise() / 4;
    for (const { of, from } of voices) sum += 3 * (of[(from + i) % of.length] as number);
    return sum;
  });
}
