// Codes as digits of a number, several in a byte or an int32: what an ONNX graph can take apart with standard operators.
import { WlqError } from "../error.ts";
import type { Segment } from "../io/segment.ts";

/** `codes` of `levels` in a unit of `unitBytes`; the first code is the lowest digit. */
export interface Packing {
  readonly levels: number;
  readonly codes: number;
  readonly unitBytes: 1 | 4;
}

/** For 2 to 256 levels: as many codes as a byte holds (digits come out of a table of up to 256 rows), or as an int32 holds (by Div and Mod). */
export function packings(levels: number): Packing[] {
  // 17 levels leave a byte to each code, yet 7 fit an int32: 4.57 bits.
  return ([1, 4] as const).map((unitBytes) => {
    const most = unitBytes === 1 ? 256 : 2 ** 31;
    let codes = 1;
    for (let power = levels * levels; power <= most; power *= levels) codes++;
    return { levels, codes, unitBytes };
  });
}

/** The digits of all values of a unit, `codes` a row: the table that takes a byte apart. */
export function digitTable({ levels, codes }: Packing): Uint8Array {
  const table = new Uint8Array(levels ** codes * codes);
  for (let i = 0; i < table.length; i++) table[i] = Math.floor(Math.floor(i / codes) / levels ** (i % codes)) % levels;
  return table;
}

/** Packs `count` codes, one a byte, into `units` units; the rest is zeros. */
export function packedSegment(codes: Segment, count: number, packing: Packing, units: number, tensor: string): Segment {
  const byteLength = units * packing.unitBytes;
  return {
    byteLength,
    async *chunks() {
      let written = 0;
      let seen = 0;
      let value = 0;
      let weight = 1;
      let digits = 0;
      for await (const chunk of codes instanceof Uint8Array ? [codes] : codes.chunks()) {
        seen += chunk.length;
        // Units that this chunk completes.
        const whole = Math.floor((digits + chunk.length) / packing.codes);
        const out = packing.unitBytes === 1 ? new Uint8Array(whole) : new Int32Array(whole);
        let at = 0;
        for (let i = 0; i < chunk.length; i++) {
          const code = chunk[i]!;
          if (code >= packing.levels) {
            throw new WlqError(
              "malformed",
              `tensor "${tensor}": code ${code} at ${seen - chunk.length + i}, it has ${packing.levels} levels`,
              { tensor },
            );
          }
          value += code * weight;
          weight *= packing.levels;
          if (++digits === packing.codes) {
            out[at++] = value;
            value = 0;
            weight = 1;
            digits = 0;
          }
        }
        written += out.byteLength;
        if (at > 0) yield new Uint8Array(out.buffer);
      }
      if (seen !== count)
        throw new WlqError("malformed", `tensor "${tensor}": ${count} weights, ${seen} codes`, { tensor });
      const rest = new Uint8Array(byteLength - written);
      if (digits > 0) {
        const unit = packing.unitBytes === 1 ? Uint8Array.of(value) : new Uint8Array(Int32Array.of(value).buffer);
        rest.set(unit);
      }
      if (rest.length > 0) yield rest;
    },
  };
}
