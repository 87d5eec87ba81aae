// Rows: one codebook for each row of a transformer's matrix, weighted by importance, as SqueezeLLM does it.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { quantizeSync } from "../src/index.ts";
import { gauss } from "./data.ts";
import { type Row, timeOnce } from "./measure.ts";

const SIDE = 4096;
const LEVELS = 16;
// Rows that scikit-learn gets; its time for all is extrapolated.
const PEER_ROWS = 16;

type Scikit = (specs: readonly string[]) => { ms: number; mse: number }[] | undefined;

/** The matrix by wlq, and by scikit-learn unless `scikit` is absent. MSE ratios: weighted error over wlq's. */
export function rowCodebooks(scikit?: Scikit): Row[] {
  const data = gauss(SIDE * SIDE, 5);
  const importance = gauss(SIDE * SIDE, 6).map((x) => x * x);
  const shape = [SIDE, SIDE];
  const options = { levels: LEVELS, granularity: "channel" } as const;
  const own = timeOnce(
    "wlq quantizeSync, a codebook a row, importance",
    data.length * 4,
    () => void quantizeSync({ data, shape }, { ...options, importance }),
    3,
  );
  const rows: Row[] = [{ ...own, goal: "4 s" }];
  if (!scikit) return rows;
  const part = SIDE * PEER_ROWS;
  const some = { data: data.subarray(0, part), shape: [PEER_ROWS, SIDE] };
  const { weighted } = quantizeSync(some, { ...options, importance: importance.subarray(0, part) }).stats;
  const folder = mkdtempSync(join(tmpdir(), "wlq-bench-"));
  const paths = [join(folder, "rows.f32"), join(folder, "importance.f32")] as const;
  writeFileSync(paths[0], new Uint8Array(data.buffer, 0, part * 4));
  writeFileSync(paths[1], new Uint8Array(importance.buffer, 0, part * 4));
  const [peer] = scikit([[paths[0], LEVELS, part, PEER_ROWS, paths[1]].join(":")]) ?? [];
  rmSync(folder, { recursive: true });
  if (peer) {
    const ms = (peer.ms * SIDE) / PEER_ROWS;
    const mseRatio = (peer.mse * part) / (weighted?.error ?? Number.NaN);
    const name = `scikit-learn KMeans, ${PEER_ROWS} rows times ${SIDE / PEER_ROWS}`;
    rows.push({ name, ms, meanMs: ms, spread: 0, runs: 1, gbPerSecond: 0, mseRatio });
  }
  return rows;
}
