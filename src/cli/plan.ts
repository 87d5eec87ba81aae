// plan: bits where they matter, on the command line: what is to be reached, the table, the file.
import { readFile, writeFile } from "node:fs/promises";
import { basename } from "node:path";
import { calibration } from "../calibrate/calibration.ts";
import type { FileOptions } from "../compress.ts";
import { WlqError } from "../error.ts";
import type { Source } from "../io/source.ts";
import { checkPlan, type Plan, type PlanTarget } from "../plan.ts";
import { type PlanOptions, plan } from "../planner.ts";
import { type CommandLine, UsageError } from "./flags.ts";
import { bytesText, plain, shorten, sqnrText, table } from "./show.ts";

const UNITS: Readonly<Record<string, number>> = {
  "": 1,
  B: 1,
  kB: 1e3,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
};

/** `2MB`, `1.5MiB`, `800 kB`, `123456` in bytes. */
export function sizeOf(flag: string, text: string): number {
  const [, number = "", unit = ""] = /^(\d+(?:\.\d+)?) ?([A-Za-z]*)$/.exec(text) ?? [];
  const factor = UNITS[unit];
  const bytes = Math.floor(Number(number) * (factor ?? 0));
  if (!(bytes > 0)) throw new UsageError(`--${flag} takes a size like 2MB, 1.5MiB or 800000, got "${text}"`);
  return bytes;
}

/** What `wlq plan` is to reach. */
function targetOf({ targetSize, compress }: CommandLine): PlanTarget {
  const { targetBits, targetSqnr } = compress;
  const target: PlanTarget = {
    ...(targetSize === undefined ? {} : { bytes: sizeOf("target-size", targetSize) }),
    ...(targetBits === undefined ? {} : { bitsPerWeight: targetBits }),
    ...(targetSqnr === undefined ? {} : { sqnrDb: targetSqnr }),
  };
  if (Object.keys(target).length === 1) return target;
  throw new UsageError("a plan takes one of --target-size, --target-bits and --target-sqnr");
}

/** What says where an error costs most: one file of the two, or none. */
export interface Costs {
  readonly importance: Source | undefined;
  /** Statistics of calibration. */
  readonly statistics: Source | undefined;
}

function optionsOf(
  { compress, weighting }: CommandLine,
  files: FileOptions,
  { importance, statistics }: Costs,
): PlanOptions {
  const { targetBits: _, targetSqnr: __, to, entropy, ...select } = compress;
  if (to === "dense") throw new UsageError("--to dense has the size of the input, whatever the levels");
  // where codes are entropy-coded, what counts is what a bit may cost; calibration measures numbers of levels
  const byLevels = to === "onnx" || entropy === "none" || statistics !== undefined;
  const method = select.method ?? (byLevels ? "optimal" : "ecsq");
  if (method === "ecsq" && entropy === "none") {
    throw new UsageError("--method ecsq is for entropy-coded codes: not with --entropy none");
  }
  return {
    ...select,
    method,
    ...files,
    ...(weighting ? { weighting } : {}),
    ...(to ? { to } : {}),
    ...(importance ? { importance } : {}),
    ...(statistics ? { calibration: calibration(statistics) } : {}),
  };
}

/** Makes the plan of `wlq plan`, and writes it where `--output` says. */
export async function makePlan(line: CommandLine, source: Source, files: FileOptions, costs: Costs): Promise<Plan> {
  const found = await plan(source, targetOf(line), optionsOf(line, files, costs));
  if (line.output !== undefined) {
    await writeFile(line.output, `${JSON.stringify(found, null, 1)}\n`).catch((cause: Error) => {
      throw new WlqError("io", `writing failed: ${cause.message}`, { cause });
    });
  }
  return found;
}

/** The plan that `wlq compress` follows, if it does: from a file, or made for a size. */
export async function planFor(
  line: CommandLine,
  source: Source,
  files: FileOptions,
  costs: Costs,
): Promise<Plan | undefined> {
  const { planFile, targetSize } = line;
  if (planFile !== undefined && targetSize !== undefined) {
    throw new UsageError("a plan has its target: give --plan or --target-size");
  }
  if (line.weighting !== undefined && targetSize === undefined) {
    throw new UsageError("--weighting is for --target-size and wlq plan");
  }
  if (planFile !== undefined) return readPlan(planFile);
  if (targetSize === undefined) return undefined;
  const { targetBits, targetSqnr } = line.compress;
  if (targetBits !== undefined || targetSqnr !== undefined) {
    throw new UsageError("--target-size is for the whole model: give no other target beside it");
  }
  return plan(source, { bytes: sizeOf("target-size", targetSize) }, optionsOf(line, files, costs));
}

async function readPlan(path: string): Promise<Plan> {
  const text = await readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "ENOENT") throw new WlqError("not-found", `there is no file ${path}`, { cause });
    throw new WlqError("io", `${path} cannot be read: ${cause.message}`, { cause });
  });
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch (cause) {
    throw new WlqError("malformed", `${path} is not a plan: ${(cause as Error).message}`, { cause });
  }
  return checkPlan(data);
}

/** The tensors with their levels, the trade-off around the choice, one closing line. */
export function planText(
  input: string,
  { tensors, tradeOff, bytes, bitsPerWeight, sqnrDb, to, weighting }: Plan,
): string {
  const rows = tensors.flatMap((t) => {
    const { options } = t;
    if (!options) return [];
    const how = options.scale === "none" ? options.granularity : `scale ${options.scale}`;
    const type = `${plain(t.dtype)} ${t.shape.join("x")}`;
    return [
      [
        shorten(t.name),
        type,
        how ?? "",
        String(t.levels ?? options.levels),
        bytesText(t.bytes),
        sqnrText(t.sqnrDb ?? null),
      ],
    ];
  });
  const kept = tensors.filter((t) => !t.options);
  const others = bytesText(kept.reduce((sum, t) => sum + t.bytes, 0));
  const points = tradeOff.map((p) => [bytesText(p.bytes), p.bitsPerWeight.toFixed(2), sqnrText(p.sqnrDb)]);
  return [
    table(["tensor", "type", "codebook", "levels", "bytes", "SQNR"], rows, 3),
    ...(kept.length > 0 ? [`${kept.length} tensors as they are (${others})`] : []),
    "",
    table(["size", "bits/weight", "SQNR"], points, 0),
    "",
    `${basename(input)}: ${bytesText(bytes)} as ${to}, ${bitsPerWeight.toFixed(2)} bits/weight, SQNR ${sqnrText(sqnrDb)}${weighting ? " over tensors" : ""} to be expected`,
  ].join("\n");
}
