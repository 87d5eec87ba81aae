// The matrix: the packed package in every real runtime, the same hashes in all of them, and how fast each one is; then
// bundlers and type checkers on the same package. Ends with `N passed, N failed`.
import process from "node:process";
import { parseArgs } from "node:util";
import { bundlers } from "./checks/bundlers.mjs";
import { types } from "./checks/types.mjs";
import { browsers } from "./hosts/browsers.mjs";
import { processes } from "./hosts/processes.mjs";
import { workerd } from "./hosts/workerd.mjs";
import { installBrowsers, installPackage, installRuntimes } from "./prepare.mjs";
import { figuresOf, HEAD, lineOf, writeTable } from "./report.mjs";

const HELP = `npm run test:runtimes [-- options]
  --json         every hash and figure as JSON on standard output; the matrix goes to standard error
  --only REGEX   just the runtimes and checks whose name matches
  --first N      cold imports a runtime, of which the median is shown (10)
  --write        write the figures into docs/performance.md
`;

const { values: flags } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    only: { type: "string", default: "" },
    first: { type: "string", default: "10" },
    write: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
const samples = Number(flags.first);
const out = flags.json ? process.stderr : process.stdout;
const say = (text) => out.write(`${text}\n`);
const chosen = ({ name }) => new RegExp(flags.only, "i").test(name);

const count = { passed: 0, failed: 0, skipped: 0 };

/** Everything that one runtime is asked. What does not answer leaves a hole and a reason. */
async function ask(host, home) {
  const runtime = await host.start(home);
  if (runtime.missing) return { name: host.name, missing: runtime.missing };
  const row = { name: host.name, version: runtime.version, probes: {} };
  const value = async (task) => {
    const answer = await runtime.ask(task);
    if (answer.error) throw new Error(`${task}: ${answer.error}`);
    return answer.value;
  };
  try {
    const first = [];
    for (let i = 0; i < samples; i++) first.push(await value("first"));
    row.firstMs = first.sort((a, b) => a - b)[Math.floor(first.length / 2)];
    Object.assign(row, await value("hashes"), { speed: await value("speed") });
    for (const task of Object.keys(host.probes ?? {})) row.probes[task] = await value(task);
  } catch (error) {
    row.error = error.message;
  } finally {
    await runtime.stop();
  }
  return row;
}

/** Names whose hashes are not those of the first runtime, or that only one of both has. */
const differences = (hashes, expected) =>
  Object.keys({ ...hashes, ...expected }).filter((name) => hashes[name] !== expected[name]);

/** Shows a runtime's row; counts a build each, and a probe each. */
function show(row, host, expected) {
  if (row.missing) {
    count.skipped++;
    say(lineOf([row.name, "", `SKIPPED: ${row.missing}`]));
    return;
  }
  const trouble = row.error ? [row.error] : [];
  const cells = ["simd", "scalar"].map((build) => {
    const hashes = row[build];
    const wrong = hashes && expected ? differences(hashes, expected) : ["all"];
    count[wrong.length === 0 ? "passed" : "failed"]++;
    if (wrong.length === 0) return `${Object.keys(hashes).length} equal`;
    if (hashes) trouble.push(`${build}: ${wrong.length} hashes differ: ${wrong.slice(0, 5).join("; ")}`);
    return "FAILED";
  });
  for (const [task, expectation] of Object.entries(host.probes ?? {})) {
    const isRight = expectation.test(row.probes?.[task]);
    count[isRight ? "passed" : "failed"]++;
    if (!isRight) trouble.push(`"${task}" says ${row.probes?.[task]}, not ${expectation}`);
  }
  // figures belong to the matrix, too
  if (!row.speed && row.simd) count.failed++;
  say(lineOf([row.name, row.version ?? "", ...cells, ...figuresOf(row)]));
  for (const text of trouble) say(`  ${text.replaceAll("\n", "\n  ")}`);
}

async function runCheck({ name, run }, home, expected) {
  const result = (await run(home, expected).catch((error) => ({ error: error.message }))) ?? {};
  if (result.missing) {
    count.skipped++;
    say(`${name}: SKIPPED: ${result.missing}`);
  } else {
    count[result.error ? "failed" : "passed"]++;
    say(`${name}: ${result.error ? `FAILED\n  ${result.error.replaceAll("\n", "\n  ")}` : "ok"}`);
  }
  return { name, ...result };
}

async function main() {
  await installRuntimes();
  await installBrowsers(say);
  const home = await installPackage();
  const rows = [];
  const checks = [];
  let expected;
  say("first: median from a cold import to the first result; decode, quantize: throughput as a share of memcpy");
  say(lineOf(HEAD));
  for (const host of [...processes, workerd, ...browsers].filter(chosen)) {
    const row = await ask(host, home).catch((error) => ({ name: host.name, error: error.message }));
    expected ??= row.simd;
    rows.push(row);
    show(row, host, expected);
  }
  for (const check of [...types, ...bundlers].filter(chosen)) {
    if (!expected && bundlers.includes(check)) {
      const [first] = processes;
      expected = (await ask(first, home)).simd;
    }
    checks.push(await runCheck(check, home, expected));
  }
  if (flags.json) process.stdout.write(`${JSON.stringify({ runtimes: rows, checks, count }, null, 2)}\n`);
  if (flags.write) await writeTable(rows, { samples, hashes: Object.keys(expected ?? {}).length });
  if (count.skipped > 0) say(`${count.skipped} skipped${process.env.CI ? ": failures, since nobody looks here" : ""}`);
  // a hole is a failure where nobody looks at the table
  const failed = count.failed + (process.env.CI ? count.skipped : 0);
  say(`${count.passed} passed, ${failed} failed`);
  process.exitCode = failed > 0 || count.passed === 0 ? 1 : 0;
}

if (flags.help) out.write(HELP);
else await main();
