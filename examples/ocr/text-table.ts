// Aligned tables for a terminal; Chinese characters take two columns there.

/** One column: its heading and on which side its cells stand. */
export interface Column {
  readonly heading: string;
  readonly align: "left" | "right";
}

/** Columns in a terminal: East Asian wide and full-width characters count two. */
export function displayWidth(text: string): number {
  let width = 0;
  for (const character of text) {
    width +=
      /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\uffe0-\uffe6]/u.test(
        character,
      )
        ? 2
        : 1;
  }
  return width;
}

/** The table as text, two spaces between columns and a rule under the headings. */
export function formatTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const headings = columns.map((column) => column.heading);
  const widths = columns.map((_, index) =>
    Math.max(...[headings, ...rows].map((row) => displayWidth(row[index] ?? ""))),
  );
  const formatRow = (row: readonly string[]): string =>
    columns
      .map(({ align }, index) => {
        const cell = row[index] ?? "";
        const fill = " ".repeat((widths[index] as number) - displayWidth(cell));
        return align === "left" ? cell + fill : fill + cell;
      })
      .join("  ")
      .trimEnd();
  return [formatRow(headings), widths.map((width) => "-".repeat(width)).join("  "), ...rows.map(formatRow)].join("\n");
}

/** `1.23 MB`, as the CLI counts: a megabyte is 10^6 bytes. */
export function formatBytes(bytes: number): string {
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(2)} MB`;
}
