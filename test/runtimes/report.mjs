// Report: the matrix as a table for a terminal, and its figures as a table in docs/performance.md.
import { readFile, writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";

const WIDTHS = [18, 15, 11, 11, 9, 8, 8];

export const HEAD = ["runtime", "version", "SIMD", "scalar", "first", "decode", "quantize"];

export const lineOf = (cells) =>
  cells
    .map((cell, i) => cell.padEnd(WIDTHS[i]))
    .join(" ")
    .trimEnd();

/** A throughput as a share of the runtime's own memcpy. */
const share = (row, name) => (row.speed ? (row.speed.memcpyMs / row.speed[name]).toFixed(2) : "");

export const figuresOf = (row) => [
  row.firstMs === undefined ? "" : `${row.firstMs.toFixed(0)} ms`,
  share(row, "decodeMs"),
  share(row, "quantizeMs"),
];

const DOCUMENT = fileURLToPath(new URL("../../docs/performance.md", import.meta.url));
const [BEGIN, END] = ["<!-- runtimes: begin -->", "<!-- runtimes: end -->"];

/** Replaces the table between the marks of docs/performance.md. */
export async function writeTable(rows, { samples, hashes }) {
  const head = ["runtime", "version", "first result", "decode", "quantize"];
  const body = rows.filter(({ speed }) => speed).map((row) => [row.name, row.version, ...figuresOf(row)]);
  const widths = head.map((title, i) => Math.max(title.length, ...body.map((cells) => cells[i].length)));
  const line = (cells) => `| ${cells.map((cell, i) => cell.padEnd(widths[i])).join(" | ")} |`;
  const day = new Date().toISOString().slice(0, 10);
  const machine = `${cpus()[0].model.trim()}, ${cpus().length} cores, ${day}`;
  const lines = [
    BEGIN,
    "",
    `${machine}; median of ${samples}; ${hashes} hashes equal in all, for both builds:`,
    "",
    line(head),
    `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`,
    ...body.map(line),
    "",
    END,
  ];
  const text = await readFile(DOCUMENT, "utf8");
  const [from, to] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (from < 0 || to < from) throw new Error(`${DOCUMENT} has no ${BEGIN} … ${END}`);
  await writeFile(DOCUMENT, text.slice(0, from) + lines.join("\n") + text.slice(to + END.length));
}
