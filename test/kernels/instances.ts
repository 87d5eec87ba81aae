// Instances: the fourteen Wasm builds, and one run of a kernel on scalar and SIMD with all its memory under guard.
import { readFileSync } from "node:fs";
import type { TansKernels } from "../../src/container/tans.ts";
import type { OutlierKernels } from "../../src/outliers.ts";
import type { CalibrateKernels } from "../../src/wasm/calibrate.ts";
import type { DecodeKernels } from "../../src/wasm/decode.ts";
import type { EncodeKernels } from "../../src/wasm/encode.ts";
import type { EntropyKernels } from "../../src/wasm/entropy.ts";
import type { SlqKernels } from "../../src/wasm/slq.ts";

export const BUILDS = [
  "encode.scalar",
  "encode.simd",
  "decode.scalar",
  "decode.simd",
  "entropy.scalar",
  "entropy.simd",
  "tans.scalar",
  "tans.simd",
  "outliers.scalar",
  "outliers.simd",
  "slq.scalar",
  "slq.simd",
  "calibrate.scalar",
  "calibrate.simd",
] as const;

/** A kernel's data: a typed array of the kernel's element type. */
export type Numbers =
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array
  | BigUint64Array;

export function wasmBytes(build: (typeof BUILDS)[number]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(readFileSync(new URL(`../../build/${build}.wasm`, import.meta.url)));
}

interface Region {
  readonly pointer: number;
  readonly bytes: number;
  /** Bytes behind that the kernel's contract lets it write. */
  readonly over: number;
  /** What must still be there afterwards. */
  readonly copy: Uint8Array | undefined;
}

const PAGE = 65536;
// before and behind every region
const GUARD = 64;

/** One instance; memory is handed out by `input`, `output` and `inout` and checked by `verify`. */
export class Instance<Kernels extends { readonly memory: WebAssembly.Memory }> {
  readonly kernels: Kernels;
  // what lies in memory that nobody wrote: differs between builds, so that a result cannot depend on it unseen
  readonly #poison: number;
  #top = GUARD;
  #regions: Region[] = [];

  constructor(build: (typeof BUILDS)[number], poison: number) {
    const module = new WebAssembly.Module(wasmBytes(build));
    this.kernels = new WebAssembly.Instance(module).exports as unknown as Kernels;
    this.#poison = poison;
  }

  /** Room that a kernel only reads: `values`, then poison. */
  input(values: Numbers): number {
    return this.#place(values.byteLength, 0, bytesOf(values), true);
  }

  /** Room that a kernel changes: `values` at first. */
  inout(values: Numbers, over = 0): number {
    return this.#place(values.byteLength, over, bytesOf(values), false);
  }

  /** Room that a kernel fills: poison at first; `over` bytes behind it may change as well. */
  output(bytes: number, over = 0): number {
    return this.#place(bytes, over, undefined, false);
  }

  u8(pointer: number, count: number): Uint8Array {
    return new Uint8Array(this.kernels.memory.buffer, pointer, count).slice();
  }

  u16(pointer: number, count: number): Uint16Array {
    return new Uint16Array(this.kernels.memory.buffer, pointer, count).slice();
  }

  u32(pointer: number, count: number): Uint32Array {
    return new Uint32Array(this.kernels.memory.buffer, pointer, count).slice();
  }

  i32(pointer: number, count: number): Int32Array {
    return new Int32Array(this.kernels.memory.buffer, pointer, count).slice();
  }

  f32(pointer: number, count: number): Float32Array {
    return new Float32Array(this.kernels.memory.buffer, pointer, count).slice();
  }

  f64(pointer: number, count: number): Float64Array {
    return new Float64Array(this.kernels.memory.buffer, pointer, count).slice();
  }

  /** Runs with empty memory; throws if a byte changed that no region lets change. */
  run<T>(work: (instance: this) => T): T {
    this.#top = GUARD;
    this.#regions = [];
    const result = work(this);
    this.#verify();
    return result;
  }

  #place(bytes: number, over: number, content: Uint8Array | undefined, readOnly: boolean): number {
    const pointer = this.#top;
    this.#top = (pointer + bytes + over + GUARD + 15) & ~15;
    const missing = this.#top + GUARD - this.kernels.memory.buffer.byteLength;
    if (missing > 0) this.kernels.memory.grow(Math.ceil(missing / PAGE));
    const memory = new Uint8Array(this.kernels.memory.buffer);
    memory.fill(this.#poison, pointer - GUARD, this.#top);
    if (content) memory.set(content, pointer);
    this.#regions.push({ pointer, bytes, over, copy: readOnly ? content : undefined });
    return pointer;
  }

  #verify(): void {
    const memory = new Uint8Array(this.kernels.memory.buffer);
    let free = 0;
    const expectPoison = (end: number): void => {
      for (; free < end; free++) {
        if (memory[free] !== this.#poison)
          throw new Error(`the kernel wrote byte ${free}, outside of its regions ${this.#tell()}`);
      }
    };
    for (const region of this.#regions) {
      expectPoison(region.pointer);
      const { pointer, bytes, copy } = region;
      if (copy && Buffer.compare(copy, memory.subarray(pointer, pointer + bytes)) !== 0) {
        throw new Error(`the kernel changed its input at ${pointer}`);
      }
      free = pointer + bytes + region.over;
    }
    expectPoison(this.#top);
  }

  #tell(): string {
    return this.#regions.map(({ pointer, bytes, over }) => `${pointer}..${pointer + bytes}+${over}`).join(", ");
  }
}

export type EncodeInstance = Instance<EncodeKernels>;
export type DecodeInstance = Instance<DecodeKernels>;
export type EntropyInstance = Instance<EntropyKernels>;
export type TansInstance = Instance<TansKernels>;
export type OutlierInstance = Instance<OutlierKernels>;
export type SlqInstance = Instance<SlqKernels>;
export type CalibrateInstance = Instance<CalibrateKernels>;

const encode: readonly EncodeInstance[] = [new Instance("encode.scalar", 0xa5), new Instance("encode.simd", 0x5a)];
const decode: readonly DecodeInstance[] = [new Instance("decode.scalar", 0xa5), new Instance("decode.simd", 0x5a)];
const entropy: readonly EntropyInstance[] = [new Instance("entropy.scalar", 0xa5), new Instance("entropy.simd", 0x5a)];
const tans: readonly TansInstance[] = [new Instance("tans.scalar", 0xa5), new Instance("tans.simd", 0x5a)];
const outliers: readonly OutlierInstance[] = [
  new Instance("outliers.scalar", 0xa5),
  new Instance("outliers.simd", 0x5a),
];
const slq: readonly SlqInstance[] = [new Instance("slq.scalar", 0xa5), new Instance("slq.simd", 0x5a)];
const calibrate: readonly CalibrateInstance[] = [
  new Instance("calibrate.scalar", 0xa5),
  new Instance("calibrate.simd", 0x5a),
];

/** What a run yields: numbers, or a list of arrays and numbers. */
export type Result = number | bigint | Numbers | readonly (number | bigint | Numbers)[];

/** Runs on the scalar and the SIMD encoder; throws unless all bits are the same; returns them. */
export function onEncoders<T extends Result>(work: (instance: EncodeInstance) => T): T {
  return onAll(encode, work);
}

/** Runs on the scalar and the SIMD decoder; throws unless all bits are the same; returns them. */
export function onDecoders<T extends Result>(work: (instance: DecodeInstance) => T): T {
  return onAll(decode, work);
}

/** Runs on both builds of the entropy coder; throws unless all bits are the same; returns them. */
export function onEntropy<T extends Result>(work: (instance: EntropyInstance) => T): T {
  return onAll(entropy, work);
}

/** Runs on both builds of the entropy decoder; throws unless all bits are the same; returns them. */
export function onTans<T extends Result>(work: (instance: TansInstance) => T): T {
  return onAll(tans, work);
}

/** Runs on both builds for outliers; throws unless all bits are the same; returns them. */
export function onOutliers<T extends Result>(work: (instance: OutlierInstance) => T): T {
  return onAll(outliers, work);
}

/** Runs on the scalar and the SIMD build for rounds; throws unless all bits are the same; returns them. */
export function onSlq<T extends Result>(work: (instance: SlqInstance) => T): T {
  return onAll(slq, work);
}

/** Runs on the scalar and the SIMD build for calibration; throws unless all bits are the same; returns them. */
export function onCalibrate<T extends Result>(work: (instance: CalibrateInstance) => T): T {
  return onAll(calibrate, work);
}

/** An instance without guards and one page of memory, for reads up to its end. */
export function onePage(build: (typeof BUILDS)[number]): DecodeKernels & EncodeKernels {
  const instance = new WebAssembly.Instance(new WebAssembly.Module(wasmBytes(build)));
  const kernels = instance.exports as unknown as DecodeKernels & EncodeKernels;
  kernels.memory.grow(1);
  return kernels;
}

function onAll<K extends { readonly memory: WebAssembly.Memory }, T extends Result>(
  instances: readonly Instance<K>[],
  work: (instance: Instance<K>) => T,
): T {
  const [scalar, simd] = instances.map((instance) => instance.run(work)) as [T, T];
  sameBits(simd, scalar, "SIMD against scalar");
  return scalar;
}

/** Throws unless both are the same to the last bit: -0 is not 0, and NaN has its bits. */
export function sameBits(got: Result, want: Result, what = "result"): void {
  if (Array.isArray(want)) {
    if (!Array.isArray(got) || got.length !== want.length) throw new Error(`${what}: lists of different lengths`);
    want.forEach((part: number | bigint | Numbers, i) =>
      sameBits(got[i] as number | bigint | Numbers, part, `${what}[${i}]`),
    );
    return;
  }
  if (typeof want === "number" || typeof want === "bigint") {
    if (!Object.is(got, want)) throw new Error(`${what}: got ${String(got)}, want ${String(want)}`);
    return;
  }
  const a = got as Numbers;
  const b = want as Numbers;
  if (a.constructor !== b.constructor || a.length !== b.length) {
    throw new Error(`${what}: got ${a.constructor.name}[${a.length}], want ${b.constructor.name}[${b.length}]`);
  }
  if (Buffer.compare(bytesOf(a), bytesOf(b)) === 0) return;
  const size = a.BYTES_PER_ELEMENT;
  for (let i = 0; i < a.length; i++) {
    const hexA = Buffer.from(bytesOf(a).subarray(i * size, i * size + size))
      .reverse()
      .toString("hex");
    const hexB = Buffer.from(bytesOf(b).subarray(i * size, i * size + size))
      .reverse()
      .toString("hex");
    if (hexA !== hexB) throw new Error(`${what}: [${i}] is ${a[i]} (0x${hexA}), want ${b[i]} (0x${hexB})`);
  }
}

/** The bytes of an array, not copied. */
export function bytesOf(values: Numbers): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
