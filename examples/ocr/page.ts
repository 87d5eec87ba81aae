// The page to look at afterwards: every line image with what both models read.

import type { TextLine } from "./lines.ts";
import { linePng } from "./lines.ts";

/** One self-contained HTML file. `before` and `after` are the texts of the float and of the compressed model. */
export function linesPage(
  title: string,
  lines: readonly TextLine[],
  before: readonly string[],
  after: readonly string[],
): string {
  const rows = lines.map((line, index) => {
    const image = Buffer.from(linePng(line)).toString("base64");
    const cell = (text: string | undefined, wanted: string): string =>
      `<td${text?.trim() === wanted.trim() ? "" : ' class="differs"'}>${escapeHtml(text ?? "")}</td>`;
    const alt = escapeHtml(line.text);
    return (
      `<tr><td><img src="data:image/png;base64,${image}" alt="${alt}" height="32"></td><td>${alt}</td>` +
      `${cell(before[index], line.text)}${cell(after[index], before[index] ?? "")}</tr>`
    );
  });
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>${escapeHtml(title)}</title>
<style>
  body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem }
  th, td { padding: .3rem .8rem; text-align: left; border-bottom: 1px solid #ddd }
  td:not(:first-child) { font-family: ui-monospace, monospace }
  .differs { background: #ffe3e0 }
</style>
<h1>${escapeHtml(title)}</h1>
<p>Marked: the float model where it misreads the line, the compressed model where it reads other than the float model.</p>
<table>
<tr><th>image</th><th>text</th><th>float model</th><th>compressed model</th></tr>
${rows.join("\n")}
</table>
</html>
`;
}

const ENTITIES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

function escapeHtml(text: string): string {
  return text.replace(/[&<>"]/g, (character) => ENTITIES[character] as string);
}
