// npm run experiment:outliers: text recognition with the largest weights kept exactly, against more levels and ecsq.
import process from "node:process";
import { formatTable } from "../examples/ocr/text-table.ts";
import { onnx } from "../src/formats/onnx.ts";
import { type CompressOptions, compress } from "../src/index.ts";
import { collected, openSubject } from "./calibrate/model.ts";

const LINES = 30;

const WAYS: readonly (readonly [name: string, options: CompressOptions])[] = [
  ...(["scale", "granularity"] as const).flatMap((per) =>
    [0, 0.005, 0.01, 0.02].map((outliers): [string, CompressOptions] => [
      `16 levels, ${per === "scale" ? "scale" : "codebook"} a channel, ${100 * outliers} %`,
      { levels: 16, [per]: "channel", outliers },
    ]),
  ),
  ...[20, 24, 32].map((levels): [string, CompressOptions] => [
    `${levels} levels, scale a channel`,
    { levels, scale: "channel" },
  ]),
  ...[4, 4.25, 4.5].map((targetBits): [string, CompressOptions] => [
    `ecsq ${targetBits} bits, scale a channel`,
    { method: "ecsq", targetBits, scale: "channel" },
  ]),
  ...[0.005, 0.01].map((outliers): [string, CompressOptions] => [
    `ecsq 4.25 bits, scale a channel, ${100 * outliers} %`,
    { method: "ecsq", targetBits: 4.25, scale: "channel", outliers },
  ]),
];

const subject = await openSubject(LINES);
const rows: string[][] = [];
for (const [name, options] of WAYS) {
  const [container, dense] = [collected(), collected()];
  const formats = [onnx()];
  const report = await compress(subject.bytes, container.sink, { ...options, formats });
  await compress(subject.bytes, dense.sink, { ...options, formats, to: "dense" });
  const { all } = await subject.keptBy(dense.bytes());
  const row = [
    name,
    (report.bytesOut / 1e6).toFixed(3),
    (report.sqnrDb ?? 0).toFixed(1),
    `${all.lines}/${all.countLines}`,
    (100 * all.characters).toFixed(1),
    all.meanKl.toFixed(3),
  ];
  rows.push(row);
  process.stderr.write(`${row.join("  ")}\n`);
}
const right = (heading: string) => ({ heading, align: "right" }) as const;
const columns = [
  { heading: "weights", align: "left" } as const,
  ...["MB", "dB", "lines", "characters %", "KL"].map(right),
];
process.stdout.write(`${formatTable(columns, rows)}\n`);
