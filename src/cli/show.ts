// Show: reports as text for people.
import { basename } from "node:path";
import Table from "cli-table3";
import type { InspectedTensor, Inspection } from "../inspect.ts";
import type { Report } from "../report.ts";

/** 548.1 MB, 12.3 kB, 97 B. */
export function bytesText(bytes: number): string {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(2)} GB`;
  if (bytes >= 1e6) return `${(bytes / 1e6).toFixed(1)} MB`;
  if (bytes >= 1e3) return `${(bytes / 1e3).toFixed(1)} kB`;
  return `${bytes} B`;
}

/** 20.1 dB, or "exact". */
export function sqnrText(sqnrDb: number | null): string {
  return sqnrDb === null ? "exact" : `${sqnrDb.toFixed(1)} dB`;
}

const PLAIN = {
  top: "",
  "top-mid": "",
  "top-left": "",
  "top-right": "",
  bottom: "",
  "bottom-mid": "",
  "bottom-left": "",
  "bottom-right": "",
  left: "",
  "left-mid": "",
  mid: "",
  "mid-mid": "",
  right: "",
  "right-mid": "",
  middle: "  ",
};

/** Columns without lines; the first `left` ones to the left. */
export function table(head: string[], rows: string[][], left: number): string {
  const columns = head.map((_, i) => (i < left ? ("left" as const) : ("right" as const)));
  const t = new Table({
    head,
    colAligns: columns,
    chars: PLAIN,
    style: { head: [], border: [], "padding-left": 0, "padding-right": 0 },
  });
  t.push(...rows);
  return t.toString();
}

/** Quantized tensors one a line, the others summed up by reason. */
export function reportText(report: Report): string {
  const rows: string[][] = [];
  const weighted = report.weightedSqnrDb !== undefined;
  const calibrated = report.tensors.some(({ output }) => output);
  const heldOut = report.tensors.some(({ output }) => output?.heldOutDb !== undefined);
  const kept = new Map<string, { count: number; bytes: number }>();
  for (const t of report.tensors) {
    if (!t.stats) {
      const sum = kept.get(t.kept ?? "") ?? { count: 0, bytes: 0 };
      kept.set(t.kept ?? "", { count: sum.count + 1, bytes: sum.bytes + t.bytesIn });
      continue;
    }
    const { stats } = t;
    const how = t.scale === "none" ? t.granularity : `scale ${t.scale}`;
    rows.push([
      shorten(t.name),
      `${plain(t.dtype)} ${t.shape.join("x")}`,
      how ?? "",
      String(t.levels),
      stats.bitsPerWeight.toFixed(2),
      stats.entropyBits.toFixed(2),
      sqnrText(stats.sqnrDb),
      ...(weighted ? [stats.weighted ? sqnrText(stats.weighted.sqnrDb) : ""] : []),
      ...(calibrated ? [t.output ? sqnrText(t.output.sqnrDb) : ""] : []),
      ...(heldOut ? [t.output?.heldOutDb === undefined ? "" : sqnrText(t.output.heldOutDb)] : []),
      `${(t.bytesIn / t.bytesOut).toFixed(2)}x`,
      stats.tableBitsPerWeight > 0.5 ? "codebook!" : "",
    ]);
  }
  const quality = [
    "SQNR",
    ...(weighted ? ["weighted"] : []),
    ...(calibrated ? ["output"] : []),
    ...(heldOut ? ["held out"] : []),
  ];
  const head = ["tensor", "type", "codebook", "levels", "bits", "entropy", ...quality, "ratio", ""];
  const lines = [table(head, rows, 3)];
  for (const [reason, { count, bytes }] of kept)
    lines.push(`${count} tensors as they are (${bytesText(bytes)}): ${plain(reason)}`);
  if (rows.some((r) => r.at(-1) !== "")) {
    lines.push(
      "codebook!: codebook and scales cost more than 0.5 bit/weight; a shared codebook with --scale channel costs less",
    );
  }
  return lines.join("\n");
}

/** `model.safetensors (548.1 MB) -> model.wlq.safetensors (71.3 MB), 7.69x, 4.16 bits/weight, SQNR 20.1 dB` */
export function closingLine(input: string, output: string, report: Report): string {
  const head = `${basename(input)} (${bytesText(report.bytesIn)}) -> ${basename(output)} (${bytesText(report.bytesOut)})`;
  const { weightedSqnrDb } = report;
  const weighted = weightedSqnrDb === undefined ? "" : `, weighted ${sqnrText(weightedSqnrDb)}`;
  return `${head}, ${report.ratio.toFixed(2)}x, ${report.bitsPerWeight.toFixed(2)} bits/weight, SQNR ${sqnrText(report.sqnrDb)}${weighted}`;
}

export function inspectionText(
  path: string,
  { format, compressed, byteLength, tensors, warnings }: Inspection,
): string {
  const rows = tensors.map((t) => [
    shorten(t.name),
    plain(t.dtype),
    t.shape.join("x") || "scalar",
    t.levels === undefined
      ? t.weight
        ? "weight"
        : ""
      : `${t.levels} levels, ${t.scale === "none" ? t.granularity : `scale ${t.scale}`}${t.coding === "tans" ? ", entropy-coded" : ""}${outliersText(t)}`,
    bytesText(t.byteLength),
  ]);
  const kind = compressed ? `wlq container of a ${plain(format)} model` : `${format} model`;
  return [
    table(["tensor", "dtype", "shape", compressed ? "coded" : "default", "bytes"], rows, 4),
    ...warnings.map(plain),
    `${basename(path)}: ${kind}, ${tensors.length} tensors, ${bytesText(byteLength)}`,
  ].join("\n");
}

function outliersText({ outliers, shape }: InspectedTensor): string {
  if (!outliers) return "";
  const share = (100 * outliers.count) / shape.reduce((product, dim) => product * dim, 1);
  return `, ${share.toFixed(2)} % outliers (${bytesText(outliers.byteLength)})`;
}

// Control characters and those that turn the direction of text: a name may not move the cursor or look like another.
// biome-ignore lint/suspicious/noControlCharactersInRegex: that is the point
const UNPRINTABLE = /[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/g;

/** Text that came out of a file, fit for a terminal. */
export function plain(text: string): string {
  return text.replace(UNPRINTABLE, "\ufffd");
}

export function shorten(text: string): string {
  const name = plain(text);
  return name.length > 48 ? `${name.slice(0, 22)}…${name.slice(-25)}` : name;
}
