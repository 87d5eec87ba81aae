// The matrix: the packed package in every real runtime, the same hashes in all of them, and how fast each one is.
import process from "node:process";
import { parseArgs } from "node:util";
import { browsers } from "./hosts/browsers.mjs";
import { processes } from "./hosts/processes.mjs";
import { workerd } from "./hosts/workerd.mjs";
import { installBrowsers, installPackage, installRuntimes } from "./prepare.mjs";

const HELP = `npm run test:runtimes [-- options]
  --json         every hash and figure, as JSON, on standard output; the matrix goes to standard error
  --only REGEX   just the runtimes whose name matches
  --first N      cold imports a runtime, of which the median is shown (10)
`;

const { values: flags } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    only: { type: "string", default: "" },
    first: { type: "string", default: "10" },
    help: { type: "boolean", default: false },
  },
});
const out = flags.json ? process.stderr : process.stdout;
const say = (text) => out.write(`${text}\n`);

const HOSTS = [...processes, workerd, ...browsers];

/** Everything one runtime is asked. */
async function ask(host, home) {
  const runtime = await host.start(home);
  if (runtime.missing) return { name: host.name, missing: runtime.missing };
  const value = async (task) => {
    const answer = await runtime.ask(task);
    if (answer.error) throw new Error(answer.error);
    return answer.value;
  };
  const row = { name: host.name, version: runtime.version };
  try {
    const first = [];
    for (let i = 0; i < Number(flags.first); i++) first.push(await value("first"));
    row.firstMs = first.sort((a, b) => a - b)[Math.floor(first.length / 2)];
    Object.assign(row, await value("hashes"), { speed: await value("speed") });
  } catch (error) {
    row.error = error.message;
  } finally {
    await runtime.stop();
  }
  return row;
}

/** Which hashes differ from the first runtime's, or are missing here or there. */
function differences(hashes, expected) {
  const names = new Set([...Object.keys(hashes), ...Object.keys(expected)]);
  return [...names].filter((name) => hashes[name] !== expected[name]);
}

async function main() {
  await installRuntimes();
  await installBrowsers(say);
  const home = await installPackage();
  const rows = [];
  let passed = 0;
  let failed = 0;
  let skipped = 0;
  let expected;
  const widths = [18, 16, 12, 12, 10, 9, 9];
  const line = (cells) =>
    say(
      cells
        .map((cell, i) => cell.padEnd(widths[i]))
        .join(" ")
        .trimEnd(),
    );
  line(["runtime", "version", "SIMD", "scalar", "first", "decode", "quantize"]);
  for (const host of HOSTS.filter(({ name }) => new RegExp(flags.only, "i").test(name))) {
    const row = await ask(host, home).catch((error) => ({ name: host.name, error: error.message }));
    rows.push(row);
    if (row.missing) {
      skipped++;
      line([row.name, "", `SKIPPED: ${row.missing}`]);
      continue;
    }
    const trouble = [];
    const cells = ["simd", "scalar"].map((build) => {
      const hashes = row[build];
      expected ??= hashes;
      const wrong = hashes ? differences(hashes, expected) : ["nothing came"];
      if (wrong.length === 0) {
        passed++;
        return `${Object.keys(hashes).length} equal`;
      }
      failed++;
      if (hashes) trouble.push(`${build}: ${wrong.length} differ: ${wrong.slice(0, 5).join("; ")}`);
      return "FAILED";
    });
    if (row.error) trouble.push(row.error);
    const ratio = (name) => (row.speed ? (row.speed.memcpyMs / row.speed[name]).toFixed(3) : "");
    const first = row.firstMs === undefined ? "" : `${row.firstMs.toFixed(0)} ms`;
    line([row.name, row.version ?? "", ...cells, first, ratio("decodeMs"), ratio("quantizeMs")]);
    for (const text of trouble) say(`  ${text.replaceAll("\n", "\n  ")}`);
  }
  if (flags.json) process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`);
  // a hole is a failure where nobody looks at the table
  if (process.env.CI) failed += skipped;
  if (skipped > 0) say(`${skipped} skipped`);
  say(`${passed} passed, ${failed} failed`);
  process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
}

if (flags.help) out.write(HELP);
else await main();
