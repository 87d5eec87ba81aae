// QR images with a known text: drawn, turned, scaled, cluttered, blurred and made noisy from a seed.

import type { SKRSContext2D } from "@napi-rs/canvas";
import { createCanvas } from "@napi-rs/canvas";
import QRCode from "qrcode";
import type { Random } from "../../examples/ocr/random.ts";
import { createRandom } from "../../examples/ocr/random.ts";

/** A range that a seeded draw is taken from. */
type Range = readonly [from: number, to: number];

export interface ImageOptions {
  readonly seed: number;
  readonly count: number;
  /** Side of the square image in pixels: with 400 x 400 the detector sees it as it is. */
  readonly side: number;
  /** Characters of the text: more make a finer code. */
  readonly characters: Range;
  /** The code's side as a share of the image's. */
  readonly share: Range;
  /** Turn in degrees. */
  readonly turn: Range;
  /** Standard deviation of the noise in grey levels (0 to 255). */
  readonly noise: Range;
  /** Difference of ink and paper in grey levels. */
  readonly contrast: Range;
  /** Blur in pixels. */
  readonly blur: Range;
  /** Rectangles and lines around the code. */
  readonly clutter: Range;
}

export const IMAGE_DEFAULTS: ImageOptions = {
  seed: 1,
  count: 200,
  side: 400,
  characters: [4, 20],
  share: [0.16, 0.4],
  turn: [-45, 45],
  noise: [0, 30],
  contrast: [70, 220],
  blur: [0, 0.8],
  clutter: [8, 40],
};

/** An upright rectangle in pixels. */
export interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/** One image: what its code says, where it is, and the pixels. */
export interface QrImage {
  readonly text: string;
  /** Around the code without its quiet zone. */
  readonly box: Box;
  readonly side: number;
  /** One grey byte a pixel, row by row. */
  readonly grey: Uint8Array;
}

/** The images of a seed; the same on every machine with the same version of the canvas. */
export function drawImages(options: ImageOptions = IMAGE_DEFAULTS): QrImage[] {
  const random = createRandom(options.seed);
  return Array.from({ length: options.count }, () => drawImage(options, random));
}

const LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789-_/";

function drawImage(options: ImageOptions, random: Random): QrImage {
  const { side } = options;
  const between = (range: Range): number => random.between(range[0], range[1]);
  const letters = Array.from({ length: Math.round(between(options.characters)) }, () => random.pick([...LETTERS]));
  const text = `wlq.io/${letters.join("")}`;
  const { modules } = QRCode.create(text, { errorCorrectionLevel: random.pick(["L", "M", "Q"] as const) });

  const canvas = createCanvas(side, side);
  const context = canvas.getContext("2d");
  const contrast = between(options.contrast);
  const paper = random.between(contrast, 255);
  context.fillStyle = grey(random.between(0, 255));
  context.fillRect(0, 0, side, side);
  drawClutter(context, side, Math.round(between(options.clutter)), random);

  // The code with its quiet zone of four modules, turned around its middle; it stays inside the image.
  const size = side * between(options.share);
  const angle = (between(options.turn) * Math.PI) / 180;
  const across = (size * (modules.size + 8)) / modules.size;
  const reach = (across * (Math.abs(Math.sin(angle)) + Math.abs(Math.cos(angle)))) / 2;
  const place = (): number => (2 * reach < side ? random.between(reach, side - reach) : side / 2);
  const [x, y] = [place(), place()];
  const half = (reach * size) / across;
  const box: Box = { left: x - half, top: y - half, right: x + half, bottom: y + half };
  context.translate(x, y);
  context.rotate(angle);
  context.fillStyle = grey(paper);
  context.fillRect(-across / 2, -across / 2, across, across);
  context.fillStyle = grey(paper - contrast);
  const step = size / modules.size;
  for (let row = 0; row < modules.size; row++) {
    for (let column = 0; column < modules.size; column++) {
      if (!modules.get(row, column)) continue;
      // A little over its edge, or neighbours would be parted by a light seam.
      context.fillRect(column * step - size / 2, row * step - size / 2, step * 1.04, step * 1.04);
    }
  }
  const { data } = context.getImageData(0, 0, side, side);
  const pixels = Float32Array.from({ length: side * side }, (_, i) => data[4 * i] as number);
  blur(pixels, side, between(options.blur));
  const noise = between(options.noise);
  return { text, box, side, grey: Uint8Array.from(pixels, (pixel) => clamp(pixel + noise * random.noise())) };
}

function drawClutter(context: SKRSContext2D, side: number, count: number, random: Random): void {
  for (let i = 0; i < count; i++) {
    context.fillStyle = grey(random.between(0, 255));
    context.fillRect(
      random.between(-0.2, 1) * side,
      random.between(-0.2, 1) * side,
      random.between(0.01, 0.5) * side,
      random.between(0.01, 0.5) * side,
    );
  }
}

/** A binomial blur of variance `sigma` squared, by steps of at most 1/2. */
function blur(pixels: Float32Array, side: number, sigma: number): void {
  for (let variance = sigma * sigma; variance > 0; variance -= 0.5) {
    const weight = Math.min(variance, 0.5) / 2;
    for (const [along, across] of [
      [1, side],
      [side, 1],
    ] as const) {
      for (let line = 0; line < side; line++) {
        let before = pixels[line * across] as number;
        for (let i = 0; i < side; i++) {
          const at = line * across + i * along;
          const here = pixels[at] as number;
          const after = i + 1 < side ? (pixels[at + along] as number) : here;
          pixels[at] = here + weight * (before - 2 * here + after);
          before = here;
        }
      }
    }
  }
}

function grey(level: number): string {
  const byte = clamp(level);
  return `rgb(${byte}, ${byte}, ${byte})`;
}

function clamp(level: number): number {
  return Math.round(Math.min(255, Math.max(0, level)));
}
