// The chart: bars for the weights, a line for every value of the codebook, as high as the weights that take it are many.

const [WIDTH, HEIGHT, BASE] = [960, 300, 270];

function element(name, attributes, text = "") {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.textContent = text;
  return node;
}

/** @param layer as layer.js gives it */
export function drawLayer(chart, { low, high, bins, codebook, counts, unit }) {
  const x = (value) => ((value - low) / (high - low || 1)) * WIDTH;
  // square roots: what is rare shows, too
  const heightOf = (list) => {
    const most = Math.sqrt(Math.max(...list)) || 1;
    return (count) => (Math.sqrt(count) / most) * (BASE - 20);
  };
  const [bar, line] = [heightOf(bins), heightOf(counts)];
  const step = WIDTH / bins.length;
  const bars = Array.from(bins, (count, i) =>
    element("rect", { x: i * step, y: BASE - bar(count), width: step * 0.86, height: bar(count) }),
  );
  const values = Array.from(codebook, (value, i) => {
    const top = BASE - line(counts[i]);
    const group = element("g", {});
    group.append(
      element("line", { class: "value", x1: x(value), x2: x(value), y1: BASE, y2: top }),
      element("circle", { cx: x(value), cy: top, r: 3 }),
    );
    return group;
  });
  const label = (value, anchor) =>
    element("text", { x: x(value), y: HEIGHT - 8, "text-anchor": anchor }, `${value.toPrecision(3)}${unit}`);
  chart.replaceChildren(
    ...bars,
    element("line", { class: "axis", x1: 0, x2: WIDTH, y1: BASE, y2: BASE }),
    ...values,
    label(low, "start"),
    label(high, "end"),
  );
}
