// Layering: who may import whom, read out of the sources; and what every source file has in common.
import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, normalize } from "node:path";
import ts from "typescript";
import { describe, expect, test } from "vitest";

/** What each file imports: paths from the repository's root, or bare names. An import of a type is an arrow like any other. */
type Graph = ReadonlyMap<string, readonly string[]>;

function sources(folder: string, suffix = /\.ts$/): string[] {
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" });
  return files.filter((file) => suffix.test(file)).map((file) => join(folder, file));
}

/** Specifiers of `import`, `export … from`, `import()` and `import("…").Type`. */
function specifiers(path: string, text: string): string[] {
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    let target: ts.Node | undefined;
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) target = node.moduleSpecifier;
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) target = node.argument.literal;
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
      target = node.arguments[0];
    if (target && ts.isStringLiteral(target)) found.push(target.text);
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(path, text, ts.ScriptTarget.Latest));
  return found;
}

function graphOf(files: readonly string[]): Graph {
  return new Map(
    files.map((file) => {
      const imports = specifiers(file, readFileSync(file, "utf8")).map((name) => {
        if (!name.startsWith(".")) return name;
        const path = normalize(join(dirname(file), name));
        return file.startsWith("assembly/") ? `${path}.ts` : path;
      });
      return [file, [...new Set(imports)]];
    }),
  );
}

/** Every file that `start` reaches, itself included. */
function reach(graph: Graph, start: string): Set<string> {
  const seen = new Set<string>();
  const visit = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    for (const next of graph.get(file) ?? []) visit(next);
  };
  visit(start);
  return seen;
}

function cycleIn(graph: Graph): string | undefined {
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (file: string): string | undefined => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file].join(" -> ");
    if (done.has(file)) return undefined;
    path.push(file);
    for (const next of graph.get(file) ?? []) {
      const cycle = visit(next);
      if (cycle) return cycle;
    }
    path.pop();
    done.add(file);
    return undefined;
  };
  for (const file of graph.keys()) {
    const cycle = visit(file);
    if (cycle) return cycle;
  }
  return undefined;
}

interface Layer {
  readonly holds: RegExp;
  readonly imports: RegExp;
}

const names = (...list: string[]): string => `src/(${list.join("|")})\\.ts`;
// `formats/format.ts` is the contract between formats and those who use them: types only
const DATA = names(
  "calibration",
  "error",
  "tensor",
  "codebook",
  "options",
  "plan",
  "report",
  "io/[a-z]+",
  "formats/(format|layer)",
);
const WASM = "src/wasm/[a-z]+(\\.d)?\\.ts";
const PASSES = names("passes");
const STAGES = names(
  "allocate",
  "assign",
  "atoms",
  "channels",
  "cluster",
  "curve",
  "decode",
  "ecsq",
  "rate-curve",
  "scale",
  "select",
  "weights",
);
const CONTAINER = names("container/[a-z]+");
const FORMATS = names("formats/(?!(format|layer)\\b)[a-z-]+");
const DRIVERS = names(
  "coded",
  "compress(-stream)?",
  "decoder",
  "decompress(-stream)?",
  "entropy(-coder)?",
  "importance",
  "init",
  "inspect",
  "level-plan",
  "open",
  "outliers",
  "output-curve",
  "plan-host",
  "plan-task",
  "planner",
  "power",
  "quantize",
  "rate-plan",
  "tensor-stream",
  "threads",
  "work",
);
const SLQ = names("slq", "slq/[a-z-]+");
const THREADS = names("threads/[a-z-]+");
const CALIBRATE = names("calibrate/[a-z-]+");
const ADAPTERS = names("adapters/[a-z-]+");
const ENTRIES = names("index", "node", "cli/[a-z]+");
const only = (...parts: string[]): RegExp => new RegExp(`^(${parts.join("|")})$`);

/** Every file of src is in one layer. Data types are leaves; stages do not know who composes them, or each other. */
const LAYERS: Readonly<Record<string, Layer>> = {
  data: { holds: only(DATA), imports: only(DATA) },
  wasm: { holds: only(WASM), imports: only(names("error"), WASM, "build/.*") },
  passes: { holds: only(PASSES), imports: only(DATA, WASM) },
  stages: { holds: only(STAGES), imports: only(DATA, WASM, PASSES) },
  container: { holds: only(CONTAINER), imports: only(DATA, WASM, CONTAINER, names("decode"), "build/tans.*") },
  formats: { holds: only(FORMATS), imports: only(DATA, FORMATS, names("container/safetensors")) },
  drivers: {
    holds: only(DRIVERS),
    imports: only(DATA, WASM, PASSES, STAGES, CONTAINER, DRIVERS, names("formats/safetensors"), "build/outliers.*"),
  },
  slq: {
    holds: only(SLQ),
    imports: only(
      DATA,
      WASM,
      PASSES,
      STAGES,
      SLQ,
      names("compress", "open", "formats/open", "quantize", "container/(coding|safetensors)"),
    ),
  },
  calibrate: {
    holds: only(CALIBRATE),
    imports: only(DATA, WASM, CALIBRATE, names("container/(json|safetensors)", "quantize")),
  },
  threads: {
    holds: only(THREADS),
    imports: only(
      DATA,
      WASM,
      PASSES,
      THREADS,
      names("assign", "coded", "compress", "entropy", "entropy-coder", "threads"),
    ),
  },
  adapters: {
    holds: only(ADAPTERS),
    imports: only(
      DATA,
      ADAPTERS,
      names("slq/index", "calibrate/[a-z-]+", "formats/onnx", "wasm/calibrate"),
      "@tensorflow/tfjs-(core|layers)",
    ),
  },
  entries: { holds: only(ENTRIES), imports: only("src/.*", "package\\.json", "node:.*", "cli-table3", "cli-progress") },
};

/** Arrows beside the rule, each with its reason. */
const ALLOWED: Readonly<Record<string, string>> = {
  "src/cluster.ts -> src/atoms.ts": "the weighted points that clustering works on",
  "src/cluster.ts -> src/ecsq.ts": "one of the ways to a codebook, large enough for a file of its own",
  "src/container/skeleton.ts -> fflate": "a well-kept packer for a model's graph, bundled, loaded where one is written",
  "src/curve.ts -> src/atoms.ts": "the weighted points that it works on",
  "src/ecsq.ts -> src/atoms.ts": "the weighted points that it works on",
  "src/rate-curve.ts -> src/atoms.ts": "the weighted points that it works on",
  "src/rate-curve.ts -> src/ecsq.ts": "the curve that it takes points of",
  "src/rate-curve.ts -> src/scale.ts": "a look at w / s, before scales are fitted",
  "src/scale.ts -> src/cluster.ts": "scales and the shared codebook are found in turns: one contains the other",
  "src/weights.ts -> src/channels.ts": "reading a channel that lies scattered is a part of reading weights",
};

const src = graphOf(sources("src"));
const assembly = graphOf(sources("assembly"));

describe("the arrows between files", () => {
  test("the parser finds every kind of import", () => {
    const text = `
      import a, { type B } from "./a.ts";
      import type { C } from "./c.ts";
      import "./d.ts";
      export * from "./e.ts";
      export {
        f,
      } from "./f.ts";
      type G = import("./g.ts").G;
      const h = await import("./h.ts");
      const text = 'import x from "./no.ts"'; // import y from "./no.ts"
    `;
    expect(specifiers("x.ts", text)).toEqual("acdefgh".split("").map((name) => `./${name}.ts`));
  });

  test("cycles are found", () => {
    expect(
      cycleIn(
        new Map([
          ["a", ["b", "c"]],
          ["b", ["c"]],
          ["c", []],
        ]),
      ),
    ).toBeUndefined();
    expect(
      cycleIn(
        new Map([
          ["a", ["b"]],
          ["b", ["c"]],
          ["c", ["b"]],
        ]),
      ),
    ).toBe("b -> c -> b");
  });

  test("every file is in exactly one layer", () => {
    for (const file of src.keys()) {
      const layers = Object.entries(LAYERS).filter(([, { holds }]) => holds.test(file));
      expect(
        layers.map(([name]) => name),
        file,
      ).toHaveLength(1);
    }
  });

  test("no arrow points the wrong way", () => {
    const wrong: string[] = [];
    const used = new Set<string>();
    for (const [file, imports] of src) {
      const layer = Object.values(LAYERS).find(({ holds }) => holds.test(file));
      for (const name of imports) {
        const arrow = `${file} -> ${name}`;
        if (layer?.imports.test(name)) continue;
        if (arrow in ALLOWED) used.add(arrow);
        else wrong.push(arrow);
      }
    }
    expect(wrong).toEqual([]);
    expect([...used].sort(), "exceptions that are needed").toEqual(Object.keys(ALLOWED).sort());
  });

  test("there are no cycles, types included", () => {
    expect(cycleIn(src)).toBeUndefined();
    expect(cycleIn(assembly)).toBeUndefined();
  });

  test("node: and packages are imported by wlq/node and the command line only, or bundled", () => {
    for (const [file, imports] of src) {
      const bare = imports
        .filter((name) => !name.includes("/") || name.startsWith("node:"))
        .filter((name) => !(`${file} -> ${name}` in ALLOWED));
      const allowed =
        file === "src/node.ts" ? /^node:/ : file.startsWith("src/cli/") ? /^(node:|cli-|package\.json$)/ : /^$/;
      expect(
        bare.filter((name) => !allowed.test(name)),
        file,
      ).toEqual([]);
    }
  });

  test("wlq/tfjs takes nothing but types from TensorFlow.js", () => {
    const peers = (text: string): string[] => text.match(/^import .*"@tensorflow\/.*$/gm) ?? [];
    for (const [file, imports] of src) {
      const lines = peers(readFileSync(file, "utf8"));
      expect(
        lines.filter((line) => !line.startsWith("import type ")),
        file,
      ).toEqual([]);
      expect(imports.filter((name) => name.startsWith("@tensorflow/")).length, file).toBe(lines.length);
    }
  });

  test("wlq/decoder carries no encoder", () => {
    const ENCODERS = only(
      names(
        "allocate",
        "curve",
        "plan",
        "planner",
        "assign",
        "channels",
        "cluster",
        "compress",
        "importance",
        "init",
        "outliers",
        "quantize",
        "report",
        "scale",
        "select",
        "weights",
      ),
      names("passes", "wasm/encode", "wasm/slq", "wasm/calibrate", "container/(writer|skeleton)"),
      FORMATS,
      SLQ,
      ADAPTERS,
      CALIBRATE,
      "build/(encode|slq|calibrate|outliers).*",
    );
    const reached = [...reach(src, "src/decoder.ts")];
    expect(reached).toContain("src/decode.ts");
    expect(reached.filter((file) => ENCODERS.test(file))).toEqual([]);
    const kernels = [...reach(assembly, "assembly/decode.ts")].map((file) => basename(file, ".ts"));
    expect(kernels).toContain("unpack");
    expect(
      kernels.filter((name) => /^(assign|atoms|histogram|lloyd|moments|optimal|pack|sort|gather)$/.test(name)),
    ).toEqual([]);
  });
});

describe("source files", () => {
  const all = [
    ...["src", "assembly", "test", "bench", "examples"].flatMap((folder) => sources(folder)),
    ...sources("scripts", /\.mjs$/),
  ];

  test("all begin with a comment that names their concept", () => {
    expect(all.filter((file) => !/^\/\/ \S.{14,}\n/.test(readFileSync(file, "utf8")))).toEqual([]);
  });

  test("names say what is inside", () => {
    const vague = /^(utils?|helpers?|common|types|misc|lib|constants)$/;
    expect(all.filter((file) => vague.test(basename(file).replace(/\..*/, "")))).toEqual([]);
    expect(all.filter((file) => !/^[a-z0-9]+(-[a-z0-9]+)*(\.test|\.d)?\.(ts|mjs)$/.test(basename(file)))).toEqual([]);
  });

  test("no source file has more than 400 lines", () => {
    const long = all.filter((file) => !file.startsWith("test/") && readFileSync(file, "utf8").split("\n").length > 401);
    expect(long).toEqual([]);
  });
});
