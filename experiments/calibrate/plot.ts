// Plot: SVG of divergence against size, both axes logarithmic.
import type { Row } from "./results.ts";

const WIDTH = 720;
const HEIGHT = 420;
const BOX = { left: 60, right: 700, top: 40, bottom: 350 } as const;
const X_TICKS = [0.8, 1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6];
const Y_TICKS = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10];

const FAMILIES = [
  {
    name: "with noise",
    colour: "#1f5fbf",
    of: ({ setting }: Row) => setting?.known === "noise" || setting?.known === "bits",
  },
  { name: "calibrated", colour: "#e08e0b", of: ({ setting }: Row) => setting?.known === "all" },
  { name: "diagonal", colour: "#2a9d8f", of: ({ setting }: Row) => setting?.known === "squares" },
  { name: "plain", colour: "#9a9a9a", of: ({ setting }: Row) => setting?.known === "nothing" },
  { name: "int affine", colour: "#c0392b", of: ({ affine }: Row) => affine !== undefined },
] as const;

/** Mean KL of all lines against entropy-coded bytes. */
export function plotOf(rows: readonly Row[]): string {
  const sizes = rows.map(({ bytes }) => bytes / 1e6);
  const [x0, x1] = [Math.min(...sizes) * 0.95, Math.max(...sizes) * 1.2];
  const kls = rows.map(({ kept }) => Math.max(1e-4, kept.all.meanKl));
  const [y0, y1] = [Math.min(...kls) * 0.8, Math.max(...kls) * 1.25];
  const x = (megabytes: number): number => place(BOX.left, BOX.right, megabytes, x0, x1);
  const y = (kl: number): number => place(BOX.bottom, BOX.top, Math.max(1e-4, kl), y0, y1);
  const parts: string[] = [];
  for (const t of X_TICKS.filter((tick) => tick > x0 && tick < x1)) {
    parts.push(rule(x(t), x(t), BOX.top, BOX.bottom), text(x(t), BOX.bottom + 16, String(t), "middle"));
  }
  for (const t of Y_TICKS.filter((tick) => tick > y0 && tick < y1)) {
    parts.push(rule(BOX.left, BOX.right, y(t), y(t)), text(BOX.left - 6, y(t) + 4, String(t), "end"));
  }
  for (const row of rows) {
    const family = FAMILIES.find((one) => one.of(row));
    if (!family) continue;
    const [cx, cy] = [x(row.bytes / 1e6), y(row.kept.all.meanKl)];
    const perChannel = row.setting?.sharing === "channel" || row.affine?.per === "channel";
    const paint = perChannel ? `fill="white" stroke="${family.colour}"` : `fill="${family.colour}"`;
    parts.push(
      `<circle cx="${cx}" cy="${cy}" r="4" ${paint}><title>${row.name}</title></circle>`,
      text(cx + 7, cy - 5, row.setting ? String(row.setting.levels) : `int${row.affine?.bits}`, "start", family.colour),
    );
  }
  const legend = FAMILIES.map(({ name, colour }, i) => {
    const at = BOX.left + i * 110;
    return `<circle cx="${at}" cy="395" r="4" fill="${colour}"/>${text(at + 9, 399, name, "start")}`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" font-family="system-ui, sans-serif" font-size="11" fill="#222">
<title>Mean KL divergence from the float model against the size of the whole model; open circles: values or scales a channel</title>
<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>
${text(WIDTH / 2, 22, "Mean KL to the float model, against size in MB (open: a codebook or a scale and zero point a channel)", "middle")}
${parts.join("\n")}
<rect x="${BOX.left}" y="${BOX.top}" width="${BOX.right - BOX.left}" height="${BOX.bottom - BOX.top}" fill="none" stroke="#888"/>
${legend.join("\n")}
</svg>
`;
}

function place(from: number, to: number, value: number, low: number, high: number): number {
  return Math.round(10 * (from + ((to - from) * Math.log(value / low)) / Math.log(high / low))) / 10;
}

const rule = (x1: number, x2: number, y1: number, y2: number): string =>
  `<line x1="${x1}" x2="${x2}" y1="${y1}" y2="${y2}" stroke="#e4e4e4"/>`;

function text(x: number, y: number, what: string, anchor: string, fill = "#222"): string {
  return `<text x="${x}" y="${y}" text-anchor="${anchor}" fill="${fill}">${what}</text>`;
}
