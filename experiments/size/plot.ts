// Plot: rate and distortion as SVG, one panel a set: our curve, the others as marks, and the limit of a Gaussian source.

/** Points of one curve, the smallest first. */
export type Curve = readonly { readonly bits: number; readonly bytes: number; readonly sqnrDb: number }[];

export interface Panel {
  readonly name: string;
  readonly ours: Curve;
  readonly ways: readonly { readonly name: string; readonly bits: number; readonly sqnrDb: number }[];
}

const [WIDTH, HEIGHT, LEFT, TOP, BOTTOM] = [430, 320, 46, 30, 40];
const [MOST_BITS, MOST_DB] = [9, 52];
const COLOURS: readonly (readonly [RegExp, string])[] = [
  [/^int8/, "#c4820e"],
  [/^int4/, "#c0392b"],
  [/levels/, "#2a9d8f"],
];

export function ratePlot(panels: readonly Panel[]): string {
  const columns = 2;
  const rows = Math.ceil(panels.length / columns);
  const body = panels.map((panel, i) => draw(panel, (i % columns) * WIDTH, Math.floor(i / columns) * HEIGHT));
  const [width, height] = [columns * WIDTH, rows * HEIGHT + 30];
  const legend = [
    "#1f5fbf ours",
    "#2a9d8f optimal levels, one width",
    "#c4820e int8",
    "#c0392b int4 (hollow: compressed)",
    "#999 Gaussian limit",
  ]
    .map((entry, i) => {
      const [colour, ...words] = entry.split(" ");
      return `<text x="${20 + i * 165}" y="${height - 10}" fill="${colour}">${words.join(" ")}</text>`;
    })
    .join("");
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11">\n<rect width="100%" height="100%" fill="white"/>\n${body.join("\n")}\n${legend}\n</svg>\n`;
}

function draw({ name, ours, ways }: Panel, dx: number, dy: number): string {
  const x = (bits: number): string => (dx + LEFT + (bits / MOST_BITS) * (WIDTH - LEFT - 16)).toFixed(1);
  const y = (db: number): string => (dy + HEIGHT - BOTTOM - (db / MOST_DB) * (HEIGHT - TOP - BOTTOM)).toFixed(1);
  const parts = [`<text x="${dx + LEFT}" y="${dy + 18}" font-weight="bold">${name}</text>`];
  for (let bits = 0; bits <= MOST_BITS; bits++) {
    parts.push(`<line x1="${x(bits)}" y1="${y(0)}" x2="${x(bits)}" y2="${y(MOST_DB)}" stroke="#eee"/>`);
    parts.push(`<text x="${x(bits)}" y="${Number(y(0)) + 14}" text-anchor="middle">${bits}</text>`);
  }
  for (let db = 0; db <= MOST_DB; db += 10) {
    parts.push(`<line x1="${x(0)}" y1="${y(db)}" x2="${x(MOST_BITS)}" y2="${y(db)}" stroke="#eee"/>`);
    parts.push(`<text x="${Number(x(0)) - 6}" y="${Number(y(db)) + 4}" text-anchor="end">${db}</text>`);
  }
  parts.push(
    `<text x="${x(MOST_BITS / 2)}" y="${dy + HEIGHT - 10}" text-anchor="middle">bits a weight; SQNR in dB upwards</text>`,
  );
  const end = MOST_DB / 6.0206;
  parts.push(
    `<line x1="${x(0)}" y1="${y(0)}" x2="${x(end)}" y2="${y(MOST_DB)}" stroke="#999" stroke-dasharray="4 3"/>`,
  );
  const inside = ours.filter(({ bits, sqnrDb }) => bits <= MOST_BITS && sqnrDb <= MOST_DB);
  parts.push(
    `<polyline fill="none" stroke="#1f5fbf" stroke-width="2" points="${inside.map((p) => `${x(p.bits)},${y(p.sqnrDb)}`).join(" ")}"/>`,
  );
  for (const { name: way, bits, sqnrDb } of ways) {
    if (bits > MOST_BITS || sqnrDb > MOST_DB || sqnrDb < 0) continue;
    const colour = COLOURS.find(([match]) => match.test(way))?.[1] ?? "#666";
    const fill = /gzip|brotli/.test(way) ? "white" : colour;
    parts.push(
      `<circle cx="${x(bits)}" cy="${y(sqnrDb)}" r="3.5" fill="${fill}" stroke="${colour}"><title>${way}</title></circle>`,
    );
  }
  return parts.join("\n");
}
