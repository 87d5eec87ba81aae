// Voice: sounds like speech, and how Silero VAD hears it: the probability of speech, 32 ms at a time.
import { readFile } from "node:fs/promises";
import * as ort from "onnxruntime-web";

export const VOICE_MODEL = "node_modules/@ricky0123/vad-web/dist/silero_vad_v5.onnx";

const RATE = 16000;
const FRAME = 512;
const CONTEXT = 64;
/** Formants of seven vowels, Hz. */
const VOWELS = [
  [730, 1090, 2440],
  [270, 2290, 3010],
  [300, 870, 2240],
  [530, 1840, 2480],
  [570, 840, 2410],
  [660, 1720, 2410],
  [440, 1020, 2240],
] as const;

/** What a model hears, and what it keeps of what another heard. */
export interface Voice {
  readonly model: Uint8Array<ArrayBuffer>;
  readonly frames: number;
  /** Mean difference of probabilities, and share of the frames on the same side of one half. */
  keptBy(model: Uint8Array): Promise<{ readonly difference: number; readonly same: number }>;
}

export async function openVoice(clips: number, seconds: number): Promise<Voice> {
  ort.env.wasm.numThreads = 1;
  const model = new Uint8Array(await readFile(VOICE_MODEL));
  const sounds = Array.from({ length: clips }, (_, i) => voice(seconds * RATE, i + 1));
  const hear = async (bytes: Uint8Array): Promise<number[]> => {
    const session = await ort.InferenceSession.create(bytes);
    const heard: number[] = [];
    for (const sound of sounds) heard.push(...(await probabilities(session, sound)));
    await session.release();
    return heard;
  };
  const float = await hear(model);
  return {
    model,
    frames: float.length,
    async keptBy(bytes) {
      const other = await hear(bytes);
      let difference = 0;
      let same = 0;
      float.forEach((p, i) => {
        difference += Math.abs(p - (other[i] as number));
        if (p >= 0.5 === (other[i] as number) >= 0.5) same++;
      });
      return { difference: difference / float.length, same: same / float.length };
    },
  };
}

async function probabilities(session: ort.InferenceSession, sound: Float32Array): Promise<number[]> {
  const sr = new ort.Tensor("int64", BigInt64Array.of(BigInt(RATE)));
  let state: ort.Tensor = new ort.Tensor("float32", new Float32Array(256), [2, 1, 128]);
  const heard: number[] = [];
  // a frame is heard with the end of the one before
  const padded = new Float32Array(CONTEXT + sound.length);
  padded.set(sound, CONTEXT);
  for (let at = 0; at + FRAME <= sound.length; at += FRAME) {
    const input = new ort.Tensor("float32", padded.slice(at, at + CONTEXT + FRAME), [1, CONTEXT + FRAME]);
    const { output, stateN } = await session.run({ input, state, sr });
    state = stateN as ort.Tensor;
    heard.push(((output as ort.Tensor).data as Float32Array)[0] as number);
  }
  return heard;
}

/** Vowels that glide into each other, some with a hiss before them, pauses between; a little noise over all. */
function voice(count: number, seed: number): Float32Array {
  let state = seed;
  const random = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const sound = new Float32Array(count);
  let talks = false;
  for (let at = 0, end = 0; at < count; at = end) {
    end = Math.min(count, at + Math.floor(RATE * (0.5 + 1.5 * random())));
    talks = !talks;
    if (!talks) continue;
    const pitch = 90 + 120 * random();
    const filters = VOWELS[0].map(() => [0, 0] as [number, number]);
    let phase = 0;
    for (let i = at; i < end; ) {
      const [from, to] = [VOWELS[Math.floor(random() * 7)], VOWELS[Math.floor(random() * 7)]];
      const length = Math.floor(RATE * (0.12 + 0.15 * random()));
      const hisses = random() < 0.25;
      for (let j = 0; j < length && i < end; j++, i++) {
        const t = j / length;
        phase += (pitch * (1 + 0.15 * Math.sin((2 * Math.PI * 1.3 * i) / RATE))) / RATE;
        let x = phase >= 1 ? 1 : 0;
        phase %= 1;
        const hiss = random() - 0.5;
        x = hisses && t < 0.35 ? 0.15 * hiss : x + 0.01 * hiss;
        filters.forEach((held, k) => {
          const [a, b] = [from?.[k] as number, to?.[k] as number];
          const r = Math.exp((-Math.PI * (60 + 40 * k)) / RATE);
          const c = 2 * r * Math.cos((2 * Math.PI * (a + (b - a) * t)) / RATE);
          x = (1 - c + r * r) * x + c * held[0] - r * r * held[1];
          held[1] = held[0];
          held[0] = x;
        });
        sound[i] = 3 * x * (0.1 + 0.9 * Math.min(1, 8 * t, 8 * (1 - t)));
      }
    }
  }
  const noise = 0.002 + 0.01 * random();
  return sound.map((x) => Math.max(-1, Math.min(1, x + noise * (random() + random() + random() - 1.5))));
}
