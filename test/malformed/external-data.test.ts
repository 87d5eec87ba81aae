// External data: companion files by name, which must lie in the model's folder, whatever links say.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { compress } from "../../src/index.ts";
import { fileSource, folderResolver } from "../../src/node.ts";
import { bytesOf, external, graph, model, node, TYPE, tensor, value, weights } from "../formats/onnx-fixture.ts";
import { SMALL, written } from "./use.ts";

const W = weights(24);
const folder = mkdtempSync(join(tmpdir(), "wlq-external-"));
afterAll(() => rmSync(folder, { recursive: true }));
const inside = join(folder, "model");
mkdirSync(join(inside, "sub"), { recursive: true });
writeFileSync(join(inside, "good.bin"), bytesOf(W));
writeFileSync(join(inside, "short.bin"), bytesOf(W.slice(1)));
writeFileSync(join(folder, "secret.bin"), bytesOf(W));
symlinkSync("../secret.bin", join(inside, "link.bin"));
symlinkSync("..", join(inside, "up"));
symlinkSync("good.bin", join(inside, "alias.bin"));
symlinkSync("loop.bin", join(inside, "loop.bin"));
execFileSync("mkfifo", [join(inside, "pipe")]);

const using = async (location: string, offset?: number | string, length?: number | string): Promise<string> => {
  const w = tensor("w", [4, 6], TYPE.F32, external(location, offset, length));
  const path = join(inside, "model.onnx");
  writeFileSync(
    path,
    model({
      graph: graph({
        nodes: [node("MatMul", ["x", "w"], ["y"])],
        initializers: [w],
        inputs: [value("x", TYPE.F32, [1, 4])],
        outputs: [value("y", TYPE.F32, [1, 6])],
      }),
    }),
  );
  const source = await fileSource(path);
  const { resolve, closeAll } = folderResolver(path);
  try {
    return await written(({ sink }) => compress(source, sink, { ...SMALL, resolve }));
  } finally {
    await closeAll();
    await source.close();
  }
};

test.each<[string, RegExp, (number | string)?, (number | string)?]>([
  ["good.bin", /^works$/],
  ["./good.bin", /^works$/],
  ["alias.bin", /^works$/],
  ["good.bin", /^works$/, 0, 96],
  ["../secret.bin", /^unsafe-path$/],
  ["sub/../../secret.bin", /^unsafe-path$/],
  ["sub/../good.bin", /^unsafe-path$/],
  [join(folder, "secret.bin"), /^unsafe-path$/],
  ["/etc/passwd", /^unsafe-path$/],
  ["..\\secret.bin", /^unsafe-path$/],
  ["C:\\secret.bin", /^unsafe-path$/],
  ["file:///etc/passwd", /^unsafe-path$/],
  ["", /^(unsafe-path|malformed)$/],
  [".", /^unsafe-path$/],
  ["good.bin\u0000.txt", /^unsafe-path$/],
  ["link.bin", /^unsafe-path$/],
  ["up/secret.bin", /^unsafe-path$/],
  ["loop.bin", /^(not-found|io)$/],
  ["nothing.bin", /^not-found$/],
  ["sub", /^io$/],
  ["pipe", /^io$/],
  ["short.bin", /^(truncated|malformed)$/],
  ["good.bin", /^(truncated|malformed)$/, 1],
  ["good.bin", /^(truncated|malformed)$/, 0, 97],
  ["good.bin", /^malformed$/, 0, 95],
  ["good.bin", /^malformed$/, -4],
  ["good.bin", /^(truncated|malformed)$/, 2 ** 53],
  ["good.bin", /^(truncated|malformed)$/, "9".repeat(40)],
  ["good.bin", /^malformed$/, "0x10"],
])("%s %s %s %s", async (location, code, offset, length) => {
  expect(await using(location, offset, length)).toMatch(code);
});
