// The demo's measures: edit distance, CTC decoding, divergence and the repeatable text lines.
import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { agreement, compareTexts, editDistance, KL_FLOOR, sumKl } from "../../examples/ocr/agreement.ts";
import { bestClasses, decodeCtc, parseKeys } from "../../examples/ocr/ctc.ts";
import type { LineOptions } from "../../examples/ocr/lines.ts";
import {
  CALIBRATION_LINES,
  drawLines,
  LINE_DEFAULTS,
  LINE_HEIGHT,
  linePng,
  UNSEEN_LINES,
} from "../../examples/ocr/lines.ts";
import { readAlphabet } from "../../examples/ocr/model.ts";
import { createRandom } from "../../examples/ocr/random.ts";
import type { Trial } from "../../examples/ocr/sweep.ts";
import { SETTINGS, settingFlags, settingName, smallestKeeping } from "../../examples/ocr/sweep.ts";
import { formatTable } from "../../examples/ocr/text-table.ts";

describe("editDistance", () => {
  it.each([
    ["", "", 0],
    ["abc", "", 3],
    ["", "abc", 3],
    ["kitten", "sitting", 3],
    ["flaw", "lawn", 2],
    ["北京到上海", "北京至上海", 1],
    ["a𠮷b", "ab", 1], // one code point, two UTF-16 units
  ])("%j to %j takes %i edits", (a, b, edits) => {
    expect(editDistance(a, b)).toBe(edits);
    expect(editDistance(b, a)).toBe(edits);
  });

  it("is a metric between the length difference and the longer length", () => {
    const word = fc.string({ unit: fc.constantFrom("a", "b", "字"), maxLength: 9 });
    fc.assert(
      fc.property(word, word, word, (a, b, c) => {
        const distance = editDistance(a, b);
        expect(distance === 0).toBe(a === b);
        expect(distance).toBeGreaterThanOrEqual(Math.abs(a.length - b.length));
        expect(distance).toBeLessThanOrEqual(Math.max(a.length, b.length));
        expect(editDistance(a, c)).toBeLessThanOrEqual(distance + editDistance(b, c));
      }),
      { seed: 1, numRuns: 300 },
    );
  });
});

describe("compareTexts", () => {
  it("counts lines and characters, outer spaces apart", () => {
    const result = compareTexts(["Total: 12", "北京", "room"], [" Total: 12 ", "北亰", "rm"]);
    expect(result).toEqual({ countLines: 3, lines: 1, countCharacters: 15, characters: 1 - 3 / 15 });
  });

  it("counts inner spaces", () => {
    expect(compareTexts(["a b"], ["ab"])).toMatchObject({ lines: 0, characters: 1 - 1 / 3 });
  });

  it("stays at 0 where a model invents more than there is", () => {
    expect(compareTexts(["ab"], ["xyzxyzxyz"]).characters).toBe(0);
    expect(compareTexts([""], ["x"]).characters).toBe(0);
  });

  it("is complete for no lines and for empty lines", () => {
    expect(compareTexts([], [])).toMatchObject({ lines: 0, characters: 1 });
    expect(compareTexts([""], [" "])).toMatchObject({ lines: 1, characters: 1 });
  });

  it("refuses lists of different lengths", () => {
    expect(() => compareTexts(["a"], [])).toThrow("0 texts cannot be compared with 1");
  });
});

describe("sumKl", () => {
  it("is 0 for the same distributions", () => {
    const steps = Float32Array.of(0.5, 0.25, 0.25, 1, 0, 0);
    expect(sumKl(steps, steps)).toBe(0);
  });

  it("is the textbook value, from the reference to the other", () => {
    const p = Float32Array.of(0.5, 0.5);
    const q = Float32Array.of(0.25, 0.75);
    expect(sumKl(p, q)).toBeCloseTo(0.5 * Math.log(2) + 0.5 * Math.log(2 / 3), 12);
    expect(sumKl(q, p)).toBeCloseTo(0.25 * Math.log(0.5) + 0.75 * Math.log(1.5), 12);
  });

  it("stays finite where the other gives up a class", () => {
    expect(sumKl(Float32Array.of(1, 0), Float32Array.of(0, 1))).toBeCloseTo(-Math.log(KL_FLOOR), 6);
  });

  it("refuses outputs of different sizes", () => {
    expect(() => sumKl(new Float32Array(4), new Float32Array(2))).toThrow("2 probabilities cannot be compared with 4");
  });
});

describe("agreement", () => {
  const reading = (
    text: string,
    ...probabilities: number[]
  ): { text: string; probabilities: Float32Array; countClasses: number } => ({
    text,
    probabilities: Float32Array.from(probabilities),
    countClasses: 2,
  });

  it("takes the mean divergence over the steps of all lines", () => {
    const before = [reading("a", 0.5, 0.5), reading("bb", 1, 0, 0.5, 0.5)];
    const after = [reading("a", 0.5, 0.5), reading("bc", 1, 0, 0.25, 0.75)];
    const result = agreement(before, after);
    expect(result).toMatchObject({ lines: 1, countLines: 2, characters: 1 - 1 / 3 });
    expect(result.meanKl).toBeCloseTo((0.5 * Math.log(2) + 0.5 * Math.log(2 / 3)) / 3, 12);
  });

  it("is complete for a model beside itself", () => {
    const same = [reading("a", 0.5, 0.5)];
    expect(agreement(same, same)).toMatchObject({ lines: 1, characters: 1, meanKl: 0 });
  });
});

describe("CTC", () => {
  const alphabet = parseKeys("a\nb\r\n字\n");

  it("reads the keys between the blank and the space", () => {
    expect(alphabet.classes).toEqual(["", "a", "b", "字", " "]);
  });

  it.each([
    [[], ""],
    [[0, 0], ""],
    [[1, 1, 1], "a"],
    [[1, 0, 1], "aa"],
    [[0, 1, 1, 0, 2, 2, 4, 3, 0], "ab 字"],
  ])("decodes %j as %j", (classes, text) => {
    expect(decodeCtc(classes, alphabet)).toBe(text);
  });

  it("refuses a class that the alphabet does not have", () => {
    expect(() => decodeCtc([5], alphabet)).toThrow("class 5, the alphabet has 5");
  });

  it("takes the most probable class of each step, ties to the lower one", () => {
    expect([...bestClasses(Float32Array.of(0.1, 0.7, 0.2, 0.4, 0.2, 0.4), 3)]).toEqual([1, 0]);
    expect(() => bestClasses(new Float32Array(7), 3)).toThrow(RangeError);
  });

  it("has 6625 classes with the model's own keys", async () => {
    expect((await readAlphabet()).classes).toHaveLength(6625);
  });
});

describe("drawLines", () => {
  const digest = (options: Partial<LineOptions>): string => {
    const hash = createHash("sha256");
    for (const line of drawLines(options)) hash.update(`${line.text}\n${line.width}\n`).update(line.rgb);
    return hash.digest("hex");
  };

  it("gives the same bytes for the same seed, others for another", () => {
    const first = digest({ count: 12 });
    expect(digest({ count: 12 })).toBe(first);
    expect(digest({ count: 12, seed: 7 })).not.toBe(first);
    expect(digest({ count: 12, noise: [30, 30] })).not.toBe(first);
  });

  it("draws only characters that the model knows, 48 pixels high", async () => {
    const known = new Set((await readAlphabet()).classes);
    for (const options of [LINE_DEFAULTS, CALIBRATION_LINES, UNSEEN_LINES]) {
      const lines = drawLines(options);
      expect(lines).toHaveLength(options.count);
      for (const line of lines) {
        expect(line.rgb).toHaveLength(LINE_HEIGHT * line.width * 3);
        expect(new Set(line.rgb).size, `"${line.text}" is blank`).toBeGreaterThan(10);
        expect([...line.text].filter((character) => !known.has(character))).toEqual([]);
      }
    }
  });

  it("keeps the fonts, sizes and noise of the unseen lines apart from those to calibrate on", () => {
    const faces: ReadonlySet<string> = new Set(CALIBRATION_LINES.fonts);
    expect(UNSEEN_LINES.fonts.filter((face) => faces.has(face))).toEqual([]);
    expect(UNSEEN_LINES.size[1]).toBeLessThan(CALIBRATION_LINES.size[0]);
    expect(UNSEEN_LINES.noise[0]).toBeGreaterThan(CALIBRATION_LINES.noise[1]);
  });

  it("writes PNG files", () => {
    const [line] = drawLines({ count: 1 });
    expect([...linePng(line as NonNullable<typeof line>).subarray(0, 4)]).toEqual([0x89, 0x50, 0x4e, 0x47]);
  });
});

describe("createRandom", () => {
  it("gives noise of mean 0 and variance 1", () => {
    const random = createRandom(3);
    const draws = Array.from({ length: 20_000 }, () => random.noise());
    const mean = draws.reduce((sum, value) => sum + value, 0) / draws.length;
    const variance = draws.reduce((sum, value) => sum + (value - mean) ** 2, 0) / draws.length;
    expect(Math.abs(mean)).toBeLessThan(0.03);
    expect(Math.abs(variance - 1)).toBeLessThan(0.03);
  });
});

describe("sweep", () => {
  it("names every setting once", () => {
    expect(new Set(SETTINGS.map(settingName)).size).toBe(SETTINGS.length);
  });

  it("turns a setting into flags", () => {
    const flags = settingFlags({ sharing: "scaled", levels: 16, method: "optimal" });
    expect(flags.join(" ")).toBe("--levels 16 --method optimal --granularity tensor --scale channel");
  });

  it("finds the smallest file that keeps enough", () => {
    const trial = (bytesOut: number, characters: number): Trial =>
      ({ report: { bytesOut }, agreement: { characters } }) as unknown as Trial;
    const trials = [trial(300, 0.99), trial(200, 0.96), trial(100, 0.94)];
    expect(smallestKeeping(trials, 0.95)).toBe(trials[1]);
    expect(smallestKeeping(trials, 1)).toBeUndefined();
  });
});

describe("formatTable", () => {
  it("aligns, wide characters included", () => {
    const table = formatTable(
      [
        { heading: "text", align: "left" },
        { heading: "n", align: "right" },
      ],
      [
        ["北京", "1"],
        ["ab", "12"],
      ],
    );
    expect(table.split("\n")).toEqual(["text   n", "----  --", "北京   1", "ab    12"]);
  });
});
