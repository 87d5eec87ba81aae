// Text-line images with a known text: drawn, blurred and made noisy from a seed, 48 pixels high as PP-OCR wants them.

import type { SKRSContext2D } from "@napi-rs/canvas";
import { createCanvas } from "@napi-rs/canvas";
import type { FaceName } from "./fonts.ts";
import { FACES, fontFamily } from "./fonts.ts";
import type { Random } from "./random.ts";
import { createRandom } from "./random.ts";
import { sentence } from "./sentences.ts";

/** Height of every line image in pixels: the input height of PP-OCR recognition models. */
export const LINE_HEIGHT = 48;

/** A range that a seeded draw is taken from, both ends included. */
export type Range = readonly [from: number, to: number];

export interface LineOptions {
  readonly seed: number;
  readonly count: number;
  readonly fonts: readonly FaceName[];
  /** Font size as a share of the line's height. */
  readonly size: Range;
  /** Height in pixels at which the line is drawn before it is scaled to 48, as a far or near camera sees it. */
  readonly resolution: Range;
  /** Standard deviation of the noise in grey levels (0 to 255). */
  readonly noise: Range;
  /** Difference of ink and paper in grey levels. */
  readonly contrast: Range;
  /** Passes of a 3x3 binomial blur at the drawn resolution. */
  readonly blur: Range;
  /** Slant of the line in degrees. */
  readonly tilt: Range;
}

/** The lines that the demo and the sweep read. */
export const LINE_DEFAULTS: LineOptions = {
  seed: 1,
  count: 60,
  fonts: ["sans", "serif", "mono", "sans-bold", "serif-italic", "xiaowei", "xiaowei"],
  size: [0.42, 0.58],
  resolution: [24, 48],
  noise: [0, 22],
  contrast: [60, 220],
  blur: [0, 1],
  tilt: [-0.8, 0.8],
};

/** Lines to calibrate on: another seed, few faces, clean. */
export const CALIBRATION_LINES: LineOptions = {
  ...LINE_DEFAULTS,
  seed: 1001,
  count: 40,
  fonts: ["sans", "serif", "xiaowei"],
  size: [0.48, 0.6],
  resolution: [28, 48],
  noise: [0, 8],
};

/**
 * Lines to judge a calibrated model on: faces, sizes and noise that {@link CALIBRATION_LINES} do not have. Faces are those
 * of which the float model reads 95 % of the characters (what it guesses, others guess differently), and the only other
 * Chinese one, of which it reads 80 %.
 */
export const UNSEEN_LINES: LineOptions = {
  ...LINE_DEFAULTS,
  seed: 2001,
  count: 90,
  fonts: ["mono", "mono-bold", "sans-bold", "serif-bold", "serif-italic", "kuaile"],
  size: [0.4, 0.47],
  noise: [9, 20],
};

/** One image: its text and its pixels. */
export interface TextLine {
  readonly text: string;
  readonly font: FaceName;
  readonly width: number;
  /** Rows of red, green, blue: `48 * width * 3` bytes. */
  readonly rgb: Uint8Array;
}

/** Draws `count` lines; the same options give the same bytes. */
export function drawLines(options: Partial<LineOptions> = {}): TextLine[] {
  const settings: LineOptions = { ...LINE_DEFAULTS, ...options };
  const random = createRandom(settings.seed);
  return Array.from({ length: settings.count }, () => drawLine(settings, random));
}

function drawLine(settings: LineOptions, random: Random): TextLine {
  const font = random.pick(settings.fonts);
  const text = sentence(random, FACES[font].chinese ? "chinese" : "english");
  const height = Math.round(random.between(...settings.resolution));
  const fontPx = random.between(...settings.size) * height;
  const margin = random.between(0.08, 0.25) * height;
  const lift = random.between(-0.05, 0.05) * height;
  const tilt = (random.between(...settings.tilt) * Math.PI) / 180;
  const [paper, ink] = shades(settings, random);

  const style = `${fontPx.toFixed(2)}px ${fontFamily(font)}`;
  const measure = createCanvas(1, 1).getContext("2d");
  measure.font = style;
  const width = Math.ceil(measure.measureText(text).width + 2 * margin);
  const context = createCanvas(width, height).getContext("2d");
  context.fillStyle = css(paper);
  context.fillRect(0, 0, width, height);
  context.translate(width / 2, height / 2 + lift);
  context.rotate(tilt);
  context.translate(-width / 2, 0);
  context.font = style;
  context.textBaseline = "middle";
  context.fillStyle = css(ink);
  context.fillText(text, margin, 0);

  let pixels = opaquePixels(context, width, height);
  const passes = random.integer(...settings.blur);
  for (let pass = 0; pass < passes; pass++) pixels = blur(pixels, width, height);
  const outWidth = Math.max(LINE_HEIGHT, Math.round((LINE_HEIGHT * width) / height));
  const scaled = resize(pixels, width, height, outWidth, LINE_HEIGHT);
  const sigma = random.between(...settings.noise);
  return { text, font, width: outWidth, rgb: addNoise(scaled, sigma, random) };
}

type Rgb = readonly [red: number, green: number, blue: number];

/** Paper and ink, `contrast` grey levels apart and slightly coloured; one line in five is light on dark. */
function shades(settings: LineOptions, random: Random): [paper: Rgb, ink: Rgb] {
  const contrast = random.between(...settings.contrast);
  const light = random.between(Math.max(contrast, 170), 250);
  const tint = (grey: number): Rgb => {
    const channel = (): number => Math.round(Math.min(255, Math.max(0, grey + random.between(-12, 12))));
    return [channel(), channel(), channel()];
  };
  const pair: [Rgb, Rgb] = [tint(light), tint(light - contrast)];
  return random.next() < 0.2 ? [pair[1], pair[0]] : pair;
}

const css = ([red, green, blue]: Rgb): string => `rgb(${red}, ${green}, ${blue})`;

function opaquePixels(context: SKRSContext2D, width: number, height: number): Float32Array {
  const rgba = context.getImageData(0, 0, width, height).data;
  const rgb = new Float32Array(width * height * 3);
  for (let pixel = 0; pixel < width * height; pixel++) {
    for (let channel = 0; channel < 3; channel++) rgb[pixel * 3 + channel] = rgba[pixel * 4 + channel] as number;
  }
  return rgb;
}

/** One pass of (1 2 1) / 4 along both axes, the edge pixels repeated. */
function blur(src: Float32Array, width: number, height: number): Float32Array {
  const along = (input: Float32Array, stepX: number, stepY: number): Float32Array => {
    const out = new Float32Array(input.length);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const before = Math.max(0, y - stepY) * width + Math.max(0, x - stepX);
        const here = y * width + x;
        const after = Math.min(height - 1, y + stepY) * width + Math.min(width - 1, x + stepX);
        for (let channel = 0; channel < 3; channel++) {
          const sides = at(input, before * 3 + channel) + at(input, after * 3 + channel);
          out[here * 3 + channel] = (sides + 2 * at(input, here * 3 + channel)) / 4;
        }
      }
    }
    return out;
  };
  return along(along(src, 1, 0), 0, 1);
}

/** Bilinear, pixel centres aligned. */
function resize(src: Float32Array, width: number, height: number, outWidth: number, outHeight: number): Float32Array {
  const out = new Float32Array(outWidth * outHeight * 3);
  for (let y = 0; y < outHeight; y++) {
    const [top, bottom, down] = neighbours(y, outHeight, height);
    for (let x = 0; x < outWidth; x++) {
      const [left, right, across] = neighbours(x, outWidth, width);
      for (let channel = 0; channel < 3; channel++) {
        const corner = (row: number, column: number): number => at(src, (row * width + column) * 3 + channel);
        const upper = corner(top, left) * (1 - across) + corner(top, right) * across;
        const lower = corner(bottom, left) * (1 - across) + corner(bottom, right) * across;
        out[(y * outWidth + x) * 3 + channel] = upper * (1 - down) + lower * down;
      }
    }
  }
  return out;
}

function neighbours(index: number, outSize: number, size: number): [first: number, second: number, share: number] {
  const position = Math.min(size - 1, Math.max(0, ((index + 0.5) * size) / outSize - 0.5));
  const first = Math.floor(position);
  return [first, Math.min(size - 1, first + 1), position - first];
}

function addNoise(src: Float32Array, sigma: number, random: Random): Uint8Array {
  const out = new Uint8Array(src.length);
  for (let i = 0; i < src.length; i++) {
    out[i] = Math.min(255, Math.max(0, Math.round(at(src, i) + sigma * random.noise())));
  }
  return out;
}

const at = (pixels: Float32Array, index: number): number => pixels[index] as number;

/** The line as a PNG file. */
export function linePng(line: TextLine): Uint8Array {
  const canvas = createCanvas(line.width, LINE_HEIGHT);
  const context = canvas.getContext("2d");
  const image = context.createImageData(line.width, LINE_HEIGHT);
  for (let pixel = 0; pixel < line.width * LINE_HEIGHT; pixel++) {
    image.data.set(line.rgb.subarray(pixel * 3, pixel * 3 + 3), pixel * 4);
    image.data[pixel * 4 + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return canvas.toBuffer("image/png");
}
