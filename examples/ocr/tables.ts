// The demo's three tables: texts, files and the sweep.
import type { CompressReport } from "./command.ts";
import type { Trial } from "./sweep.ts";
import { SETTINGS, settingName } from "./sweep.ts";
import type { Column } from "./text-table.ts";
import { formatBytes, formatTable } from "./text-table.ts";

export const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;

const left = (heading: string): Column => ({ heading, align: "left" });
const right = (heading: string): Column => ({ heading, align: "right" });
const decibels = (sqnrDb: number | null): string => (sqnrDb === null ? "exact" : `${sqnrDb.toFixed(1)} dB`);

/** What stands on the first `count` images, and what the two models read. */
export function textTable(
  truth: readonly string[],
  before: readonly string[],
  after: readonly string[],
  count: number = 12,
): string {
  const read = (texts: readonly string[], index: number): string => texts[index]?.trim() ?? "";
  return formatTable(
    [left("on the image"), left("float model"), left("compressed model")],
    truth.slice(0, count).map((text, index) => [text, read(before, index), read(after, index)]),
  );
}

/** The two files that the shown setting makes. */
export function fileTable(onnx: CompressReport, container: CompressReport, decodeGBps: number): string {
  const row = (name: string, report: CompressReport, decode: string): string[] => [
    name,
    formatBytes(report.bytesIn),
    formatBytes(report.bytesOut),
    `${report.ratio.toFixed(2)}x`,
    report.bitsPerWeight.toFixed(2),
    decibels(report.sqnrDb),
    `${report.seconds.toFixed(2)} s`,
    decode,
  ];
  return formatTable(
    [left("output"), ...["in", "out", "ratio", "bits/weight", "SQNR", "time", "decode"].map(right)],
    [row("ONNX (--to onnx)", onnx, "in the graph"), row("container", container, `${decodeGBps.toFixed(1)} GB/s`)],
  );
}

/** One row a trial, in the order of {@link SETTINGS}. */
export function sweepTable(trials: readonly Trial[]): string {
  const order = SETTINGS.map(settingName);
  const place = (trial: Trial): number => order.indexOf(settingName(trial.setting));
  const rows = trials
    .toSorted((a, b) => place(a) - place(b))
    .map(({ setting, report, agreement }) => [
      setting.sharing,
      setting.calibrated ? "calibrated" : setting.method,
      setting.rule === undefined ? String(setting.levels) : `${setting.levels} *`,
      `${agreement.lines}/${agreement.countLines}`,
      percent(agreement.characters),
      agreement.meanKl.toFixed(4),
      formatBytes(report.bytesOut),
      `${report.ratio.toFixed(2)}x`,
      report.bitsPerWeight.toFixed(2),
      decibels(report.sqnrDb),
    ]);
  return formatTable(
    [
      left("sharing"),
      left("method"),
      ...["levels", "lines kept", "characters", "mean KL", "file", "ratio", "bits/weight", "SQNR"].map(right),
    ],
    rows,
  );
}
