// The published safetensors rules as a checker, written from their text and apart from our reader.
// https://github.com/huggingface/safetensors#format, and the Rust library's `validate` (no holes, no overlap).

/** A tensor that the checker found. */
export interface RuleTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** A file that keeps the rules. */
export interface RuleFile {
  readonly tensors: ReadonlyMap<string, RuleTensor>;
  readonly metadata: Readonly<Record<string, string>>;
}

const BITS = new Map<string, number>([
  ["BOOL", 8],
  ["F4", 4],
  ["F6_E2M3", 6],
  ["F6_E3M2", 6],
  ["U8", 8],
  ["I8", 8],
  ["F8_E5M2", 8],
  ["F8_E4M3", 8],
  ["F8_E8M0", 8],
  ["I16", 16],
  ["U16", 16],
  ["F16", 16],
  ["BF16", 16],
  ["I32", 32],
  ["U32", 32],
  ["F32", 32],
  ["C64", 64],
  ["F64", 64],
  ["I64", 64],
  ["U64", 64],
]);

/** Checks every rule; throws an Error that names the first broken one. `aligned` false leaves out what is only advised. */
export function checkSafetensors(file: Uint8Array, aligned = true): RuleFile {
  const fail = (problem: string): never => {
    throw new Error(`not a valid safetensors file: ${problem}`);
  };
  if (file.length < 8) fail(`${file.length} bytes have no room for the header's size`);
  const size = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  if (size > 100_000_000) fail(`a header of ${size} bytes is above 100 MB`);
  if (8 + size > file.length) fail(`a header of ${size} bytes ends behind the file's ${file.length}`);
  if (aligned && size % 8 !== 0) fail(`the data begins at byte ${8 + size}, not a multiple of 8`);
  const header = file.subarray(8, 8 + size);
  if (header[0] !== 0x7b) fail("the header does not begin with {");
  let last = size - 1;
  while (header[last] === 0x20) last--;
  if (header[last] !== 0x7d) fail("the header ends with something else than } and spaces");
  const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(header);
  const names = keysOf(text);
  if (new Set(names).size !== names.length) fail("a key is there twice");
  const json = new Map<string, unknown>(Object.entries(JSON.parse(text) as object));
  if (json.size !== names.length) fail(`${names.length} keys, ${json.size} of them parsed`);

  const metadata = (json.get("__metadata__") ?? {}) as Record<string, string>;
  for (const [key, value] of Object.entries(metadata)) {
    if (typeof value !== "string") fail(`metadata ${key} is a ${typeof value}`);
  }
  // plain views: a Buffer's slice() would not copy
  const data = new Uint8Array(file.buffer, file.byteOffset + 8 + size, file.length - 8 - size);
  const tensors = new Map<string, RuleTensor>();
  let end = 0;
  // in the order of the header's text, which is that of the bytes
  for (const name of names) {
    if (name === "__metadata__") continue;
    const entry = json.get(name) as { dtype: string; shape: number[]; data_offsets: [number, number] };
    if (Object.keys(entry).sort().join() !== "data_offsets,dtype,shape")
      fail(`"${name}" has the keys ${Object.keys(entry)}`);
    const { dtype, shape, data_offsets: offsets } = entry;
    const [from, to] = offsets;
    for (const n of [...shape, ...offsets])
      if (!Number.isSafeInteger(n) || n < 0) fail(`"${name}" has the number ${n}`);
    if (offsets.length !== 2 || to < from) fail(`"${name}" lies from ${from} to ${to}`);
    if (from !== end) fail(`"${name}" begins at ${from}, the one before it ends at ${end}`);
    const bits = BITS.get(dtype);
    if (bits !== undefined) {
      const wanted = (shape.reduce((product, n) => product * n, 1) * bits) / 8;
      if (wanted !== to - from) fail(`"${name}", ${dtype} [${shape}], needs ${wanted} bytes and has ${to - from}`);
      if (aligned && bits > 8 && from % (bits / 8) !== 0) fail(`"${name}", ${dtype}, begins at ${from}`);
    }
    tensors.set(name, { dtype, shape, bytes: data.subarray(from, to) });
    end = to;
  }
  if (end !== data.length) fail(`the tensors end at ${end} of ${data.length} bytes of data`);
  return { tensors, metadata };
}

/** Keys of the outermost object of valid JSON, in order, twice if they are there twice. */
function keysOf(json: string): string[] {
  const keys: string[] = [];
  let depth = 0;
  for (let i = 0; i < json.length; i++) {
    const c = json[i];
    if (c === "{" || c === "[") depth++;
    else if (c === "}" || c === "]") depth--;
    else if (c === '"') {
      const start = i;
      for (i++; json[i] !== '"'; i++) if (json[i] === "\\") i++;
      if (depth === 1 && /^\s*:/.test(json.slice(i + 1, i + 9)))
        keys.push(JSON.parse(json.slice(start, i + 1)) as string);
    }
  }
  return keys;
}
