// The table: a row a tensor, those that were quantized first, to be chosen for the chart.

export function sizeText(bytes) {
  const units = ["B", "kB", "MB", "GB"];
  let size = bytes;
  let unit = 0;
  for (; size >= 1000 && unit < 3; unit++) size /= 1000;
  return `${unit === 0 ? size : size.toFixed(size < 10 ? 2 : 1)} ${units[unit]}`;
}

export const decibels = (db) => (db === null ? "exact" : `${db.toFixed(1)} dB`);

/** @param choose called with the name of a tensor */
export function fillTable(body, tensors, choose) {
  const calibrated = tensors.some(({ output }) => output);
  const ordered = [...tensors].sort((a, b) => Number(!a.stats) - Number(!b.stats));
  const rows = ordered.map(({ name, shape, bytesIn, bytesOut, stats, kept, output }) => {
    const row = document.createElement("tr");
    row.dataset.tensor = name;
    row.classList.toggle("kept", !stats);
    const first = document.createElement("td");
    const label = document.createElement(stats ? "button" : "span");
    label.textContent = name;
    if (stats) label.addEventListener("click", () => choose(name));
    first.append(label);
    const cells = [shape.join(" × "), sizeText(bytesIn), sizeText(bytesOut)];
    if (!stats) cells.push(kept);
    else cells.push(stats.bitsPerWeight.toFixed(2), decibels(stats.sqnrDb));
    if (stats && calibrated) cells.push(...(output ? [decibels(output.sqnrDb), decibels(output.nearestDb)] : ["", ""]));
    row.append(
      first,
      ...cells.map((text) => {
        const cell = document.createElement("td");
        cell.textContent = text;
        return cell;
      }),
    );
    // why it was kept, instead of what quantized ones have
    if (!stats) row.lastChild.colSpan = calibrated ? 4 : 2;
    return row;
  });
  body.replaceChildren(...rows);
}
