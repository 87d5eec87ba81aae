// Readme: every code block of README.md and docs/ is run, in order, in one folder of sample models a document.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { checkTypes, isCommand, runSnippet, type Snippet, snippetsOf, writeSamples } from "./snippets.ts";

const MOST_SKIPPED = 6;

const folder = mkdtempSync(join(tmpdir(), "wlq-readme-"));
const paths = ["README.md", ...(existsSync("docs") ? readdirSync("docs").map((name) => join("docs", name)) : [])];
const documents = paths
  .filter((path) => path.endsWith(".md") && existsSync(path))
  .map((path) => ({ path, snippets: snippetsOf(readFileSync(path, "utf8")) }));
const nameOf = (path: string, { line }: Snippet): string => `${basename(path, ".md").toLowerCase()}-${line}`;
const runnable = ({ snippets }: { snippets: readonly Snippet[] }): Snippet[] =>
  snippets.filter((s) => s.skip === undefined);

beforeAll(() => rmSync("build/snippets", { recursive: true, force: true }));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("the mechanism", () => {
  const text = [
    "# Title",
    "```ts",
    'import { quantize } from "wlq";',
    "const q: { levels: number } = await quantize(new Float32Array(9), { levels: 4 });",
    "console.log(q.levels);",
    "```",
    "```json",
    "{}",
    "```",
    "```sh skip: installs things",
    "npm ci",
    "```",
    "```sh",
    "# a note",
    "npx wlq inspect model.onnx --json | grep -c w1",
    "```",
    "```js",
    'throw new Error("on purpose");',
    "```",
  ].join("\n");
  const [code, skipped, command, wrong] = snippetsOf(text) as [Snippet, Snippet, Snippet, Snippet];
  const home = join(folder, "mechanism");
  beforeAll(() => writeSamples(home));

  test("finds blocks, their lines and why they are skipped", () => {
    expect(snippetsOf(text).map((s) => [s.language, s.line, s.skip])).toEqual([
      ["ts", 2, undefined],
      ["sh", 10, "installs things"],
      ["sh", 13, undefined],
      ["js", 17, undefined],
    ]);
    expect([isCommand(skipped), isCommand(command)]).toEqual([false, true]);
  });

  test("runs TypeScript against the built package", async () => {
    expect(await runSnippet(code, "self-code", home)).toBe("4\n");
  });

  test("runs commands among sample models", async () => {
    expect(await runSnippet(command, "self-command", home)).toBe("1\n");
    const missing = { ...command, code: "npx wlq inspect missing.onnx" };
    await expect(runSnippet(missing, "self-missing", home)).rejects.toThrow("missing.onnx");
    await expect(runSnippet({ ...command, code: "npx other" }, "self-other", home)).rejects.toThrow("not run here");
  });

  test("notices blocks that fail and types that do not hold", async () => {
    await expect(runSnippet(wrong, "self-wrong", home)).rejects.toThrow("on purpose");
    const mistyped = { ...code, code: code.code.replace("number", "string") };
    expect(await checkTypes(new Map([["self-code", code]]))).toBe("");
    expect(await checkTypes(new Map([["self-mistyped", mistyped]]))).toContain("self-mistyped.ts(2,");
  });
});

test("few blocks are skipped, each with a reason", () => {
  const skipped = documents.flatMap(({ snippets }) => snippets.filter((s) => s.skip !== undefined));
  expect(skipped.length).toBeLessThanOrEqual(MOST_SKIPPED);
  for (const { skip, line } of skipped) expect(skip, `line ${line}`).toMatch(/\S+ \S+/);
});

test("TypeScript blocks are typed right", async () => {
  const blocks = documents.flatMap((document) =>
    runnable(document)
      .filter((snippet) => snippet.language === "ts")
      .map((snippet) => [nameOf(document.path, snippet), snippet] as const),
  );
  if (blocks.length > 0) expect(await checkTypes(new Map(blocks))).toBe("");
});

for (const document of documents.filter((d) => runnable(d).length > 0)) {
  const { path } = document;
  describe(path, () => {
    const home = join(folder, basename(path, ".md"));
    beforeAll(() => writeSamples(home));

    test.each(runnable(document).map((snippet) => [snippet.line, snippet] as const))(
      "line %i",
      async (line, snippet) => {
        if (snippet.language === "sh") {
          expect(isCommand(snippet), `${path}:${line} is no command that is run here: mark it "skip: why"`).toBe(true);
        }
        await runSnippet(snippet, nameOf(path, snippet), home);
      },
    );
  });
}
