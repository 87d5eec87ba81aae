// npm run experiment:mnist: LeNet-300-100 and LeNet-5 on MNIST, SLQ and its relatives against the float network.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { runOf, runRounds } from "./mnist/rounds.ts";
import { methodsOf, NETWORKS, QUICK_NETWORK, quickMethods } from "./mnist/settings.ts";
import { Trainer } from "./mnist/trainer.ts";

const progress = (text: string): void => void process.stderr.write(`${text}\n`);

const { values } = parseArgs({
  options: {
    quick: { type: "boolean" },
    network: { type: "string" },
    seeds: { type: "string" },
    methods: { type: "string" },
    out: { type: "string" },
    set: { type: "string" },
    extra: { type: "string" },
  },
});

const quick = values.quick ?? false;
const out = values.out ?? "out/mnist";
const SEEDS = quick ? [1] : [1, 2, 3, 4, 5];
const seeds = values.seeds?.split(",").map(Number) ?? SEEDS;
await mkdir(out, { recursive: true });
const override = JSON.parse(values.set ?? "{}");
for (const network0 of quick ? [QUICK_NETWORK] : NETWORKS) {
  const network = { ...network0, ...override, retrain: { ...network0.retrain, ...override.retrain } };
  if (values.network && values.network !== network.name) continue;
  const trainer = new Trainer(network.name);
  for (const seed of seeds) {
    for (const method of values.extra ? JSON.parse(values.extra) : quick ? quickMethods() : methodsOf(network)) {
      if (values.methods && !values.methods.split(",").includes(method.name)) continue;
      const start = performance.now();
      const rounds = await runRounds(runOf(out, network, seed, method), trainer, false);
      const last = rounds.at(-1);
      progress(
        `${network.name} seed ${seed} ${method.name}: ${rounds.map((r) => `${r.before.error.toFixed(2)}>${r.after.error.toFixed(2)}`).join(" ")} loss ${last?.after.loss.toFixed(4)} validation; ${((performance.now() - start) / 1000).toFixed(0)} s ${JSON.stringify(last?.values ?? "")}`,
      );
    }
  }
  trainer.close();
}
