// The table: a row a tensor, those that were quantized to be chosen for the chart.

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
  const rows = tensors.map(({ name, shape, bytesIn, bytesOut, stats, kept, output }) => {
    const row = document.createElement("tr");
    row.dataset.tensor = name;
    row.classList.toggle("kept", !stats);
    const first = document.createElement("td");
    const label = document.createElement(stats ? "button" : "span");
    label.textContent = name;
    if (stats) label.addEventListener("click", () => choose(name));
    first.append(label);
    const cells = [
      shape.join(" × "),
      sizeText(bytesIn),
      sizeText(bytesOut),
      ...(stats ? [stats.bitsPerWeight.toFixed(2), decibels(stats.sqnrDb)] : ["", kept]),
      ...(calibrated ? (output ? [decibels(output.sqnrDb), decibels(output.nearestDb)] : ["", ""]) : []),
    ];
    row.append(
      first,
      ...cells.map((text) => {
        const cell = document.createElement("td");
        cell.textContent = text;
        return cell;
      }),
    );
    return row;
  });
  body.replaceChildren(...rows);
}
