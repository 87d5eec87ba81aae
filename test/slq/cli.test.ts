// The command line of rounds: the whole way, what it says, and its exit codes.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { wlq } from "../cli-process.ts";
import { bytesOf, safetensorsFile } from "../formats/safetensors-fixture.ts";
import { Random } from "../kernels/random.ts";

const folder = mkdtempSync(join(tmpdir(), "wlq-slq-"));
afterAll(() => rmSync(folder, { recursive: true }));

const file = (name: string): string => join(folder, name);
const weights = new Random(1).normals(4000);
const model = (values: Float32Array): Uint8Array =>
  safetensorsFile([
    { name: "fc.weight", dtype: "F32", shape: [50, 80], bytes: bytesOf(values) },
    { name: "fc.bias", dtype: "F32", shape: [50], bytes: bytesOf(weights.subarray(0, 50)) },
  ]);
writeFileSync(file("model"), model(weights));

async function slq(...args: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const { code, stdout, stderr } = await wlq(["slq", ...args]);
  return { code, out: stdout, err: stderr };
}

test("init, next, status, finish, compress: exact", async () => {
  const init = await slq("init", file("model"), file("s0"), "--levels", "5", "--schedule", "2,5");
  expect(init).toMatchObject({ code: 0, err: "" });
  expect(init.out).toContain("2 rounds to go");
  expect(init.out).toContain("1 tensors without a mask, which train freely: fc.bias");
  const first = await slq("next", file("s0"), file("s0"), file("s1"));
  expect(first.out).toMatch(/s1: round 1 of 2, \d+\.\d % of 4000 weights frozen\n/);
  expect(first.out).toContain(`now train under the masks, then: wlq slq next ${file("s1")} TRAINED STATE2`);
  expect((await slq("status", file("s1"))).out).toContain("round 1 of 2 is done; now train under the masks");
  const status = JSON.parse((await slq("status", file("s1"), "--json")).out);
  expect(status).toMatchObject({ round: 1, rounds: 2, done: false, format: "safetensors" });
  const report = JSON.parse((await slq("next", file("s1"), file("s1"), file("s2"), "--json")).out);
  expect(report).toMatchObject({ round: 2, done: true, frozen: 4000 });
  const finish = await slq("finish", file("s2"), file("quantized"));
  expect(finish.code).toBe(0);
  const command = /"wlq (compress [^"]+)" is lossless/.exec(finish.out)?.[1]?.split(" ") as string[];
  expect((await wlq(command)).stdout).toContain("SQNR exact");
  expect((await wlq(["verify", `${file("quantized")}.wlq`, file("quantized")])).code).toBe(0);
});

test("finish with what was trained after the last round: other tensors from there, moved weights refused", async () => {
  await slq("init", file("model"), file("f0"), "--levels", "3", "--schedule", "3");
  await slq("next", file("f0"), file("f0"), file("f1"));
  const finished = await slq("finish", file("f1"), file("f2"));
  expect(finished.code).toBe(0);
  const quantized = readFileSync(file("f2"));
  const biased = Buffer.from(quantized);
  const header = JSON.parse(biased.subarray(8, 8 + Number(biased.readBigUInt64LE(0))).toString());
  const start = 8 + Number(biased.readBigUInt64LE(0));
  biased.writeFloatLE(0.75, start + header["fc.bias"].data_offsets[0]);
  writeFileSync(file("f3"), biased);
  expect((await slq("finish", file("f1"), file("f3"), file("f4"))).code).toBe(0);
  expect(readFileSync(file("f4")).equals(biased)).toBe(true);
  expect(readFileSync(file("f4")).equals(quantized)).toBe(false);
  biased.writeFloatLE(9, start + header["fc.weight"].data_offsets[0]);
  writeFileSync(file("f3"), biased);
  const refused = await slq("finish", file("f1"), file("f3"), file("f5"));
  expect(refused).toMatchObject({ code: 3, err: expect.stringMatching(/weight 0 was frozen at \S+ and is 9/) });
  expect(existsSync(file("f5"))).toBe(false);
});

test("a moved weight: exit 3, both values, no file; --snap goes on", async () => {
  await slq("init", file("model"), file("m0"), "--levels", "3", "--schedule", "2,3");
  await slq("next", file("m0"), file("m0"), file("m1"));
  const state = readFileSync(file("m1"));
  const moved = new Float32Array(4000);
  const start = 8 + Number(state.readBigUInt64LE(0));
  for (let i = 0; i < 4000; i++) moved[i] = state.readFloatLE(start + 4 * i) + 0.5;
  writeFileSync(file("trained"), model(moved));
  const refused = await slq("next", file("m1"), file("trained"), file("m2"));
  expect(refused.code).toBe(3);
  expect(refused.err).toMatch(/layer "fc\.weight": weight \d+ was frozen at \S+ and is \S+; mask updates/);
  expect(existsSync(file("m2"))).toBe(false);
  expect(readdirSync(folder).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  const snapped = await slq("next", file("m1"), file("trained"), file("m2"), "--snap");
  expect(snapped.code).toBe(0);
  expect(snapped.out).toMatch(/\d+ weights put back; all is quantized/);
});

test("losses from a file decide", async () => {
  await slq("init", file("model"), file("l0"), "--levels", "5", "--schedule", "1,5");
  const probe = JSON.parse((await slq("probe", file("l0"), file("l0"), file("probe"), "--json")).out);
  expect(probe[0].codebook).toHaveLength(5);
  writeFileSync(file("losses"), JSON.stringify({ "fc.weight": [1, 2, 1, 7, 1] }));
  const report = JSON.parse(
    (await slq("next", file("l0"), file("l0"), file("l1"), "--losses", file("losses"), "--json")).out,
  );
  expect(report.partition).toBe("loss");
  expect(report.layers[0].clusters.map(({ frozen }: { frozen: string }) => frozen)).toEqual([
    "free",
    "free",
    "free",
    "now",
    "free",
  ]);
});

test.each(["slq", "eslq", "mlq", "inq", "reference"])("preset %s", async (preset) => {
  const init = await slq("init", file("model"), file(`${preset}0`), "--preset", preset, "--json");
  expect(init.code).toBe(0);
  const { rounds } = JSON.parse(init.out);
  for (let r = 0; r < rounds; r++) {
    expect((await slq("next", file(`${preset}${r}`), file(`${preset}${r}`), file(`${preset}${r + 1}`))).code).toBe(0);
  }
  expect((await slq("finish", file(`${preset}${rounds}`), file(`${preset}.end`))).code).toBe(0);
});

test("MLQ in an order of its own", async () => {
  const two = ["a", "b"].map((name) => ({ name, dtype: "F32", shape: [50, 80], bytes: bytesOf(weights) }) as const);
  writeFileSync(file("two"), safetensorsFile(two));
  const order = ["--preset", "mlq", "--schedule", "b; a,b; a"];
  expect(JSON.parse((await slq("init", file("two"), file("o0"), ...order, "--json")).out).rounds).toBe(3);
  const states: number[][] = [];
  for (let r = 0; r < 3; r++) {
    const { out } = await slq("next", file(`o${r}`), file(`o${r}`), file(`o${r + 1}`), "--json");
    states.push(JSON.parse(out).layers.map(({ state }: { state: number }) => state));
  }
  expect(states).toEqual([
    [0, 1],
    [1, 2],
    [2, 2],
  ]);
});

test("exit codes: usage 2, bad input 3, no such file 3 or 4", async () => {
  await slq("init", file("model"), file("x0"));
  for (const [code, message, ...args] of [
    [2, "MODEL STATE, got 1", "init", file("model")],
    [2, "levels must be", "init", file("model"), file("n"), "--levels", "300"],
    [2, "--preset is one of", "init", file("model"), file("n"), "--preset", "best"],
    [2, "--prune takes shares", "init", file("model"), file("n"), "--prune", "lots"],
    [2, "ascends to the 17 levels", "init", file("model"), file("n"), "--schedule", "5,9"],
    [2, 'the layer "fc.weight" twice', "init", file("model"), file("n"), "--schedule", "fc.weight;fc.weight;fc.weight"],
    [2, "not a command", "begin", file("model")],
    [2, "same file", "next", file("x0"), file("x0"), file("x0")],
    [3, "no SLQ state", "status", file("model")],
    [3, "round 0 of 5", "finish", file("x0"), file("n")],
    [3, "no file", "status", file("nothing")],
    [3, "cannot be read", "next", file("x0"), file("x0"), file("n"), "--losses", file("nothing")],
  ] as [number, string, ...string[]][]) {
    const { code: got, err } = await slq(...args);
    expect([got, err], args.join(" ")).toEqual([code, expect.stringContaining(message)]);
  }
  expect(existsSync(file("n"))).toBe(false);
  const help = await slq("--help");
  expect(help).toMatchObject({ code: 0 });
  expect(help.out).toContain("wlq slq next STATE TRAINED STATE2");
});
