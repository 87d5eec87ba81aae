// Plots: SVG of error against size and of error over rounds, one panel a network.
import type { MethodResult, NetworkResult } from "./results.ts";
import { mean } from "./statistics.ts";

const PANEL = { width: 460, height: 330, left: 56, right: 16, top: 34, bottom: 44 } as const;
const LEGEND_HEIGHT = 34;

const COLOURS: Readonly<Record<MethodResult["family"], string>> = {
  float: "#222222",
  "one-shot": "#9a9a9a",
  INQ: "#c4820e",
  SLQ: "#1f5fbf",
  ESLQ: "#2a9d8f",
  MLQ: "#8e44ad",
  "prune + SLQ": "#c0392b",
};

interface Axis {
  readonly low: number;
  readonly high: number;
  readonly log: boolean;
  readonly ticks: readonly number[];
  readonly label: string;
}

/** Test error (mean and 95 % interval of the difference to float) against bytes, both axes logarithmic. */
export function sizePlot(networks: readonly NetworkResult[]): string {
  const families = familiesOf(networks);
  const panels = networks.map((network, i) => {
    const { methods, floatBytes } = network;
    const x: Axis = {
      ...{ low: floatBytes / 100, high: floatBytes * 1.25, log: true, label: "size, kB" },
      ticks: ticksWithin(
        [10, 20, 30, 50, 100, 200, 300, 500, 1000, 2000],
        floatBytes / 1e5,
        (floatBytes * 1.25) / 1e3,
      ).map((t) => t * 1e3),
    };
    const errors = methods.map(({ error }) => error);
    const low = Math.min(...errors) * 0.85;
    const high = Math.min(Math.max(...errors) * 1.15, low * 20);
    const y: Axis = {
      low,
      high,
      log: true,
      ticks: ticksWithin(
        [0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 4, 5, 7, 10, 15, 20, 30, 50],
        low,
        high,
      ),
      label: "test error, %",
    };
    const plot = new Panel(i, network.network.name, x, y, (t) => String(t / 1e3));
    for (const method of methods) {
      const { family, levels, error, bytes, toFloat } = method;
      const colour = COLOURS[family];
      const cy = Math.min(error, high);
      const base = error - toFloat.mean;
      if (family !== "float" && family !== "one-shot" && Number.isFinite(toFloat.low)) {
        plot.line(
          [
            [bytes, Math.max(low, base + toFloat.low)],
            [bytes, Math.min(high, base + toFloat.high)],
          ],
          colour,
          1,
        );
      }
      plot.mark(bytes, cy, colour, method.grid === "pow2" || method.grid === "inq" ? "square" : "circle", error > high);
      if (levels !== null) plot.label(bytes, cy, String(levels), colour);
    }
    const float = methods.find(({ family }) => family === "float");
    if (float)
      plot.line(
        [
          [x.low, float.error],
          [x.high, float.error],
        ],
        COLOURS.float,
        0.7,
        "4 3",
      );
    return plot.text();
  });
  return page(
    panels,
    families,
    "Test error against size; the number is the levels, bars are the 95 % interval of the paired difference to float",
  );
}

/** Validation error over the rounds, mean of the seeds: up when weights freeze, down as the rest is trained. */
export function roundsPlot(networks: readonly NetworkResult[], names: readonly string[]): string {
  const shown = networks.map(({ methods }) => methods.filter(({ name }) => names.includes(name)));
  const panels = networks.map((network, i) => {
    const methods = shown[i] as MethodResult[];
    const curves = methods.map((method) => ({ method, points: curveOf(method) }));
    const all = curves.flatMap(({ points }) => points);
    const [low, high] = [Math.min(...all.map((p) => p[1])) * 0.9, Math.max(...all.map((p) => p[1])) * 1.1];
    const last = Math.max(...all.map((p) => p[0]));
    const step = last > 12 ? 4 : 1;
    const x: Axis = {
      low: 0,
      high: last * 1.06,
      log: false,
      ticks: Array.from({ length: Math.floor(last / step) + 1 }, (_, t) => t * step),
      label: "epochs of re-training",
    };
    const y: Axis = {
      low,
      high,
      log: true,
      ticks: ticksWithin([0.6, 0.8, 1, 1.2, 1.4, 1.6, 2, 2.5, 3, 4, 5, 7, 10, 15, 20, 30, 50, 80], low, high),
      label: "validation error, %",
    };
    const plot = new Panel(i, network.network.name, x, y, String);
    for (const { method, points } of curves) {
      const colour = COLOURS[method.family];
      plot.line(points, colour, 1.4, method.family === "float" ? "4 3" : undefined);
      const end = points.at(-1);
      if (end && method.levels !== null) plot.label(end[0], end[1], String(method.levels), colour);
    }
    return plot.text();
  });
  return page(
    panels,
    [...new Set(shown.flat().map(({ family }) => family))],
    "Validation error over the rounds, mean of the seeds: up where weights freeze, down as the others are trained",
  );
}

// Epochs and error: before and after every training.
function curveOf({ runs }: MethodResult): (readonly [number, number])[] {
  const rounds = runs[0]?.rounds ?? [];
  return rounds.flatMap((round, r) => {
    const of = (when: "before" | "after"): number => mean(runs.map((run) => run.rounds[r]?.[when].error ?? 0));
    return [
      [rounds[r - 1]?.epochs ?? 0, of("before")],
      [round.epochs, of("after")],
    ] as const;
  });
}

function familiesOf(networks: readonly NetworkResult[]): MethodResult["family"][] {
  return [...new Set(networks.flatMap(({ methods }) => methods.map(({ family }) => family)))];
}

function ticksWithin(ticks: readonly number[], low: number, high: number): number[] {
  return ticks.filter((t) => t >= low && t <= high);
}

/** One panel, drawn as text. */
class Panel {
  readonly #parts: string[] = [];
  readonly #x: Axis;
  readonly #y: Axis;
  readonly #left: number;

  constructor(index: number, title: string, x: Axis, y: Axis, tickText: (t: number) => string) {
    this.#x = x;
    this.#y = y;
    this.#left = index * PANEL.width + PANEL.left;
    const { width, height, top, bottom, left, right } = PANEL;
    const [x0, x1, y0, y1] = [this.#left, this.#left + width - left - right, top, height - bottom];
    for (const t of x.ticks) {
      const at = this.#atX(t);
      this.#parts.push(
        `<line x1="${at}" x2="${at}" y1="${y0}" y2="${y1}" stroke="#e4e4e4"/>`,
        text(at, y1 + 16, tickText(t), "middle"),
      );
    }
    for (const t of y.ticks) {
      const at = this.#atY(t);
      this.#parts.push(
        `<line x1="${x0}" x2="${x1}" y1="${at}" y2="${at}" stroke="#e4e4e4"/>`,
        text(x0 - 6, at + 4, String(t), "end"),
      );
    }
    this.#parts.push(
      `<rect x="${x0}" y="${y0}" width="${x1 - x0}" height="${y1 - y0}" fill="none" stroke="#888"/>`,
      text((x0 + x1) / 2, y0 - 12, title, "middle", 'font-weight="bold"'),
      text((x0 + x1) / 2, height - 10, x.label, "middle"),
      `<g transform="translate(${x0 - 42} ${(y0 + y1) / 2}) rotate(-90)">${text(0, 0, y.label, "middle")}</g>`,
    );
  }

  mark(x: number, y: number, colour: string, shape: "circle" | "square", open: boolean): void {
    const [cx, cy] = [this.#atX(x), this.#atY(y)];
    const paint = open ? `fill="white" stroke="${colour}"` : `fill="${colour}"`;
    this.#parts.push(
      shape === "circle"
        ? `<circle cx="${cx}" cy="${cy}" r="3.5" ${paint}/>`
        : `<rect x="${cx - 3}" y="${cy - 3}" width="6" height="6" ${paint}/>`,
    );
  }

  label(x: number, y: number, what: string, colour: string): void {
    this.#parts.push(text(this.#atX(x) + 6, this.#atY(y) - 4, what, "start", `fill="${colour}" font-size="10"`));
  }

  line(points: readonly (readonly [number, number])[], colour: string, width: number, dash?: string): void {
    const path = points.map(([x, y]) => `${this.#atX(x)},${this.#atY(y)}`).join(" ");
    const dashed = dash ? ` stroke-dasharray="${dash}"` : "";
    this.#parts.push(`<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="${width}"${dashed}/>`);
  }

  text(): string {
    return this.#parts.join("\n");
  }

  #atX(x: number): number {
    return place(this.#left + share(this.#x, x) * (PANEL.width - PANEL.left - PANEL.right));
  }

  #atY(y: number): number {
    return place(PANEL.height - PANEL.bottom - share(this.#y, y) * (PANEL.height - PANEL.top - PANEL.bottom));
  }
}

function share({ low, high, log }: Axis, value: number): number {
  return log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
}

const place = (x: number): number => Math.round(x * 10) / 10;

function text(x: number, y: number, what: string, anchor: string, more = ""): string {
  return `<text x="${place(x)}" y="${place(y)}" text-anchor="${anchor}" ${more}>${what}</text>`;
}

function page(panels: readonly string[], families: readonly MethodResult["family"][], title: string): string {
  const width = PANEL.width * panels.length;
  const height = PANEL.height + LEGEND_HEIGHT;
  const legend = families.map((family, i) => {
    const x = PANEL.left + i * 110;
    return `<circle cx="${x}" cy="${PANEL.height + 10}" r="4" fill="${COLOURS[family]}"/>${text(x + 9, PANEL.height + 14, family, "start")}`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, sans-serif" font-size="11" fill="#222">
<title>${title}</title>
<rect width="${width}" height="${height}" fill="white"/>
${panels.join("\n")}
${legend.join("\n")}
</svg>
`;
}
