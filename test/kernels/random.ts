// Random: seeded numbers for kernel tests, float32 of every kind among them.

/** A seeded stream of numbers. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** 32 random bits: Steele and Vigna's SplitMix, in 32 bits. */
  bits(): number {
    this.#state = (this.#state + 0x9e3779b9) >>> 0;
    let z = this.#state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  }

  /** In [0, 1). */
  unit(): number {
    return this.bits() / 4294967296;
  }

  /** An integer from 0 to bound - 1. */
  below(bound: number): number {
    return Math.floor(this.unit() * bound);
  }

  /** About normal: twelve uniforms. */
  normal(): number {
    let sum = -6;
    for (let i = 0; i < 12; i++) sum += this.unit();
    return sum;
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)] as T;
  }

  /** A finite float32 of any kind: any bits, subnormal, huge, zeros of both signs, small integers, about normal. */
  float(): number {
    switch (this.below(8)) {
      case 0:
      case 1:
        return finite(this.bits());
      case 2:
        return finite(this.bits() & 0x807fffff);
      case 3:
        return finite((this.bits() & 0x80ffffff) | 0x7e000000);
      case 4:
        return this.pick([
          0,
          -0,
          1,
          -1,
          2 ** -149,
          -(2 ** -149),
          2 ** -126,
          3.4028234663852886e38,
          -3.4028234663852886e38,
        ]);
      case 5:
        return this.below(17) - 8;
      default:
        return Math.fround(this.normal());
    }
  }

  floats(count: number): Float32Array {
    return Float32Array.from({ length: count }, () => this.float());
  }

  /** About normal float32, which most kernels see. */
  normals(count: number): Float32Array {
    return Float32Array.from({ length: count }, () => this.normal());
  }

  bytes(count: number, bound = 256): Uint8Array {
    return Uint8Array.from({ length: count }, () => this.below(bound));
  }

  /** The same values in another order. */
  shuffled(values: Float32Array): Float32Array {
    const out = values.slice();
    for (let i = out.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [out[i], out[j]] = [out[j] as number, out[i] as number];
    }
    return out;
  }
}

function finite(bits: number): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, bits);
  const x = view.getFloat32(0);
  return Number.isFinite(x) ? x : 0;
}
