// The picture of a layer: how its weights are spread, and the values that stand for them.
import type { Picture } from "./messages.ts";

const WIDTH = 760;
const HEIGHT = 260;
const BASE = HEIGHT - 34;
const TOP = 14;

/** Draws into an SVG element: weights as an area, codebook values as stems as high as the area is there. */
export function drawChart(svg: SVGSVGElement, picture: Picture, counts: ArrayLike<number>): void {
  const { bins, low, high, codebook, tensor } = picture;
  const x = (value: number): number => ((value - low) / (high - low)) * WIDTH;
  // the root shows the tails, where values are few and far apart
  const most = Math.sqrt(Math.max(...bins));
  const y = (count: number): number => BASE - (Math.sqrt(count) / most) * (BASE - TOP);
  const step = WIDTH / bins.length;
  const area = [...bins].map((count, i) => `V${y(count).toFixed(1)}H${((i + 1) * step).toFixed(1)}`).join("");
  const weights = counts.length ? [...Array.from(counts)].reduce((sum, n) => sum + n, 0) : 0;
  const stems = [...codebook].map((value, code) => {
    const bin = Math.min(bins.length - 1, Math.floor(((value - low) / (high - low)) * bins.length));
    const height = y(bins[bin] as number);
    const share = weights ? `, ${((100 * (counts[code] ?? 0)) / weights).toFixed(2)} % of the weights` : "";
    const stem = element("g", { class: "stem" });
    stem.append(
      title(`code ${code}: ${value.toPrecision(4)}${share}`),
      element("line", { x1: x(value), x2: x(value), y1: BASE, y2: height }),
      element("circle", { cx: x(value), cy: height, r: codebook.length > 64 ? 2 : 3 }),
    );
    return stem;
  });
  const ticks = ticksBetween(low, high).map((value) => {
    const text = element("text", { x: x(value), y: BASE + 20, class: "tick" });
    text.textContent = String(value);
    return text;
  });
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("role", "img");
  svg.replaceChildren(
    title(`Histogram of ${tensor} with its ${codebook.length} codebook values`),
    element("path", { d: `M0,${BASE}${area}V${BASE}Z`, class: "area" }),
    element("line", { x1: 0, x2: WIDTH, y1: BASE, y2: BASE, class: "axis" }),
    ...stems,
    ...ticks,
  );
}

function element(name: string, attributes: Readonly<Record<string, string | number>>): SVGElement {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  return made;
}

function title(text: string): SVGElement {
  const made = element("title", {});
  made.textContent = text;
  return made;
}

/** Five to ten round numbers. */
function ticksBetween(low: number, high: number): number[] {
  const rough = (high - low) / 6;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10);
  const ticks: number[] = [];
  for (let i = Math.ceil((low + step * 0.3) / step); i * step < high - step * 0.3; i++) {
    ticks.push(Number((i * step).toPrecision(12)));
  }
  return ticks;
}
