// The maker of optima.json: compiles the exact solver, runs it on every test set and model tensor, resumes where it stopped.
//
// From the root of the repository, with g++ (some minutes on one core):
//   npx esbuild test/oracle/make-optima.ts --bundle --platform=node --format=esm --outfile=build/make-optima.mjs
//   node build/make-optima.mjs
// Entries already there whose sha256 fits are kept; delete optima.json to make all anew.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { SETS } from "../../bench/data.ts";
import { floatTensors, MODELS } from "../../bench/models.ts";
import { OPTIMA_LEVELS, OPTIMA_ZERO_LEVELS, type Optimum, readOptima, sha256 } from "./optima.ts";

const SOLVER = "build/optimal";
const DATA = "build/optimal-data.f32";
const OPTIMA = "test/oracle/optima.json";

/** Tensors with fewer values are left out: their codebook would be as large as they are. */
const MIN_VALUES = 256;

mkdirSync("build", { recursive: true });
const flags = ["-std=c++17", "-O3", "-march=native", "-ffp-contract=off"];
execFileSync("g++", [...flags, "test/oracle/optimal.cpp", "-o", SOLVER], { stdio: "inherit" });
execFileSync(SOLVER, ["--selftest"], { stdio: "inherit" });

const old = new Map<string, Optimum>();
if (existsSync(OPTIMA)) for (const optimum of readOptima(OPTIMA)) old.set(optimum.sha256, optimum);
const made: Optimum[] = [];

for (const set of SETS) add(set.name, set.make(set.n));
for (const model of MODELS) {
  for (const tensor of await floatTensors(model)) {
    if (tensor.data.length >= MIN_VALUES) add(`${model.name}/${tensor.name}`, tensor.data);
  }
}
write(made); // drops entries whose data is gone

function add(name: string, values: Float32Array): void {
  const known = old.get(sha256(values)) ?? made.find((optimum) => optimum.sha256 === sha256(values));
  if (known !== undefined) {
    made.push({ ...known, name });
    return;
  }
  const start = performance.now();
  made.push(solve(name, values));
  const names = new Set(made.map((optimum) => optimum.name));
  write([...made, ...[...old.values()].filter((optimum) => !names.has(optimum.name))]);
  console.log(`${name}: ${values.length} values, ${((performance.now() - start) / 1000).toFixed(1)} s`);
}

function solve(name: string, values: Float32Array): Optimum {
  writeFileSync(DATA, values);
  const free = runSolver(Math.max(...OPTIMA_LEVELS), []);
  const zero = runSolver(Math.max(...OPTIMA_ZERO_LEVELS), ["--pin0"]);
  const mse = (errors: readonly number[], levels: number): number => {
    const error = errors[levels - 1];
    if (error === undefined) throw new Error(`${SOLVER} printed no error for ${levels} levels`);
    return error / values.length;
  };
  return {
    name,
    n: values.length,
    distinct: free.distinct,
    sha256: sha256(values),
    mse: Object.fromEntries(OPTIMA_LEVELS.map((k) => [k, mse(free.errors, k)])) as Optimum["mse"],
    mseZero: Object.fromEntries(OPTIMA_ZERO_LEVELS.map((k) => [k, mse(zero.errors, k)])) as Optimum["mseZero"],
  };
}

/** `errors[k - 1]` is the least total squared error with k levels. */
function runSolver(maxLevels: number, options: readonly string[]): { distinct: number; errors: number[] } {
  const out = execFileSync(SOLVER, [DATA, String(maxLevels), ...options], { encoding: "utf8" });
  const [head = "", ...lines] = out.trim().split("\n");
  return { distinct: Number(head.split(" ")[1]), errors: lines.map((line) => Number(line.split(" ")[1])) };
}

/** One line an entry. Numbers have the fewest digits (17 at most) that read back as the same double. */
function write(optima: readonly Optimum[]): void {
  writeFileSync(`${OPTIMA}.part`, `[\n${optima.map((optimum) => JSON.stringify(optimum)).join(",\n")}\n]\n`);
  renameSync(`${OPTIMA}.part`, OPTIMA);
}
