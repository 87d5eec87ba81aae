// Calling the `wlq` command line as a user does, in a process of its own, and reading its JSON report.
import { spawn } from "node:child_process";

/** What `wlq compress --json` prints; the fields that the demo shows. */
export interface CompressReport {
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly ratio: number;
  /** Codebooks and scales counted. */
  readonly bitsPerWeight: number;
  /** null: exact. */
  readonly sqnrDb: number | null;
  readonly seconds: number;
}

/** Runs the command and returns what it prints on stdout. Its stderr is shown only when it fails. */
export function runCli(cliPath: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [cliPath, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) resolve(stdout);
      else reject(new Error(`wlq ${args.join(" ")} ended with code ${code}\n${stderr}`));
    });
  });
}

/** `wlq compress`, with its report. */
export async function compressFile(cliPath: string, args: readonly string[]): Promise<CompressReport> {
  return JSON.parse(await runCli(cliPath, ["compress", ...args, "--json"])) as CompressReport;
}
