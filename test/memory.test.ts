// Memory: files of 2 GiB, one tensor or many, with every layout of codebooks, in less than 300 MB of resident memory.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statfsSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { afterAll, describe, expect, test } from "vitest";
import { CLI, run } from "./cli-process.ts";

const LIMIT_MB = 300;
const BIG_MODEL = new URL("../scripts/big-model.mjs", import.meta.url).pathname;
const GIB = 2 ** 30;

const folder = mkdtempSync(join(tmpdir(), "wlq-memory-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, name);

// the most that was ever resident, as the kernel knows it; rusage would count the parent's memory at the fork, too
const HOOK = at("peak.mjs");
writeFileSync(
  HOOK,
  `import { readFileSync } from "node:fs";
process.on("exit", () => process.stderr.write("peak " + /VmHWM:\\s*(\\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))[1] + "\\n"));
`,
);

/** Runs the command line; megabytes at the peak. */
async function peakOf(...args: string[]): Promise<number> {
  const { code, stderr, seconds } = await run(process.execPath, ["--import", HOOK, CLI, ...args, "-q"], {
    cwd: folder,
  });
  expect([code, stderr.replace(/peak \d+\n$/, "")]).toEqual([0, ""]);
  const peak = Number(/peak (\d+)\n$/.exec(stderr)?.[1]) / 1024;
  console.log(`${args.join(" ")}: ${peak.toFixed(0)} MB, ${seconds.toFixed(1)} s`);
  expect(peak).toBeLessThan(LIMIT_MB);
  return peak;
}

function makeModel(name: string, bytes: number, ...options: string[]): void {
  execFileSync(process.execPath, [BIG_MODEL, at(name), "--bytes", String(bytes), ...options]);
}

/** Compresses and decompresses; nothing of it stays on the disk. */
async function thereAndBack(input: string, ...flags: string[]): Promise<void> {
  const { size } = statSync(at(input));
  try {
    await peakOf("compress", input, "out.wlq", ...flags);
    expect(statSync(at("out.wlq")).size).toBeLessThan(size / 3);
    await peakOf("decompress", "out.wlq", "out.safetensors");
    expect(Math.abs(statSync(at("out.safetensors")).size - size)).toBeLessThan(1e5);
  } finally {
    rmSync(at("out.wlq"), { force: true });
    rmSync(at("out.safetensors"), { force: true });
  }
}

const { bavail, bsize } = statfsSync(folder);
const room = bavail * bsize > 6 * GIB;

describe.skipIf(process.platform !== "linux")("peak below 300 MB", () => {
  test("6 GiB of room for the files", ({ skip }) => {
    if (!room && !process.env.CI) skip("SKIPPED: the disk has no room for files of 2 GiB");
    expect(room).toBe(true);
  });

  describe.skipIf(!room && !process.env.CI)("2 GiB", () => {
    test.each([
      ["one tensor", ["--tensors", "1"], ["--levels", "16", "--granularity", "tensor"]],
      ["512 tensors", ["--tensors", "512", "--columns", "1024"], ["--levels", "16", "--granularity", "tensor"]],
    ])(
      "%s",
      async (_, shape, flags) => {
        makeModel("two.safetensors", 2 * GIB, ...shape);
        try {
          await thereAndBack("two.safetensors", ...flags);
        } finally {
          rmSync(at("two.safetensors"));
        }
      },
      600_000,
    );
  });

  test("256 MiB in one tensor: defaults, scales, codebooks a channel of either axis, dense, verify", async () => {
    makeModel("quarter.safetensors", GIB / 4);
    await thereAndBack("quarter.safetensors");
    for (const flags of [
      ["--scale", "group", "--group-size", "64"],
      ["--scale", "channel", "--axis", "1"],
      ["--granularity", "channel", "--axis", "1"],
    ]) {
      await thereAndBack("quarter.safetensors", "--levels", "16", ...flags);
    }
    await peakOf(
      "compress",
      "quarter.safetensors",
      "dense.safetensors",
      "--to",
      "dense",
      "--levels",
      "16",
      "--granularity",
      "tensor",
    );
    await peakOf("compress", "quarter.safetensors", "out.wlq", "--levels", "256", "--granularity", "tensor");
    await peakOf("verify", "out.wlq", "quarter.safetensors");
    await peakOf("inspect", "out.wlq");
  }, 600_000);

  test("channels longer than what is kept of them: 20 million weights in each of two", async () => {
    makeModel("long.safetensors", 160_000_000, "--columns", "2");
    await thereAndBack("long.safetensors", "--levels", "16", "--granularity", "channel", "--axis", "1");
  }, 600_000);
});

test("what the model maker writes is seeded", () => {
  makeModel("a", 1 << 20, "--columns", "64", "--tensors", "4");
  makeModel("b", 1 << 20, "--columns", "64", "--tensors", "4");
  expect(readFileSync(at("a")).equals(readFileSync(at("b")))).toBe(true);
  makeModel("b", 1 << 20, "--columns", "64", "--tensors", "4", "--seed", "2");
  expect(readFileSync(at("a")).equals(readFileSync(at("b")))).toBe(false);
});
