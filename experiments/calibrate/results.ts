// Results: what was measured, and which goals it reaches.
import type { AffineSetting } from "./affine.ts";
import type { Cost } from "./cost.ts";
import type { Half, Kept } from "./model.ts";
import { COST_GOALS, GOALS, type Goal, KNOWN, type Setting } from "./settings.ts";

/** One way to quantize and what came of it. */
export interface Row {
  readonly name: string;
  readonly setting?: Setting;
  readonly affine?: AffineSetting;
  /** The container; of affine models, codes at the order-0 entropy of their layer and all else. */
  readonly bytes: number;
  readonly kept: Kept;
}

export interface LayerRow {
  readonly weight: string;
  readonly shape: readonly number[];
  /** Output SQNR on the calibration lines, and that of each weight's nearest value. */
  readonly sqnrDb: number | null;
  readonly nearestDb: number | null;
}

export interface Verdict {
  readonly what: string;
  readonly goal: string;
  readonly measured: string;
  readonly held: boolean;
}

export interface Results {
  readonly model: string;
  readonly floatBytes: number;
  readonly calibrationLines: number;
  /** Lines of each half. */
  readonly lines: number;
  readonly floatAccuracy: Readonly<Record<Half, number>>;
  readonly rows: readonly Row[];
  /** Of the first setting. */
  readonly layers: readonly LayerRow[];
  readonly cost: Cost;
  readonly gflops: number;
  readonly verdicts: readonly Verdict[];
}

export const settingText = ({ sharing, levels, known }: Setting): string =>
  `${levels} levels a ${sharing}${sharing === "layer" ? ", scale a channel" : ""}, ${KNOWN[known]}`;

export const affineText = ({ bits, per }: AffineSetting): string =>
  `int${bits} affine, ${per === "block" ? "32 weights" : `a ${per}`}`;

export const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
export const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(2)} MB`;

/** Where a size was asked, the setting that counts bits is judged beside the one that does not. */
const judged = (goal: Goal): Setting[] =>
  (goal.bytes === undefined ? (["noise"] as const) : (["noise", "bits"] as const)).map((known) => {
    return { sharing: goal.sharing, levels: goal.levels, known };
  });

export function verdictsOf(rows: readonly Row[], cost: Cost, gflops: number): Verdict[] {
  const list: Verdict[] = [];
  const add = (what: string, goal: string, measured: string, held: boolean): void =>
    void list.push({ what, goal, measured, held });
  const pairs = GOALS.flatMap((goal) => judged(goal).map((setting) => ({ ...goal, setting })));
  for (const { setting, characters, meanKl, bytes } of pairs) {
    const row = rows.find((one) => one.setting && settingText(one.setting) === settingText(setting));
    if (!row) continue;
    const { all } = row.kept;
    const what = settingText(setting);
    if (characters !== undefined) {
      add(what, `characters >= ${percent(characters)}`, percent(all.characters), all.characters >= characters);
    }
    add(what, `KL <= ${meanKl}`, all.meanKl.toFixed(3), all.meanKl <= meanKl);
    if (bytes !== undefined) {
      add(what, `container <= ${megabytes(bytes)}`, megabytes(row.bytes), row.bytes <= bytes);
    }
  }
  const { seconds: most, peakBytes, gflops: least } = COST_GOALS;
  for (const [capture, how] of [
    [cost.capture, "calibrated"],
    [cost.captureWithNoise, "calibrated with noise"],
  ] as const) {
    const seconds = capture.seconds + cost.quantize.seconds;
    const peak = Math.max(capture.peakBytes, cost.quantize.peakBytes);
    add(`both commands, processor time, ${how}`, `<= ${most} s`, `${seconds.toFixed(1)} s`, seconds <= most);
    add(`peak memory of either, ${how}`, `< ${megabytes(peakBytes)}`, megabytes(peak), peak < peakBytes);
  }
  add("rank-k update", `>= ${least} GFLOP/s`, `${gflops.toFixed(1)} GFLOP/s`, gflops >= least);
  return list;
}
