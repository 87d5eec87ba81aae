// Shifts: what is added to the mean of a layer's outputs, in a bias that is there or in one that is put there.
import type { OnnxLayer } from "./onnx-layers.ts";
import { countUses, layersOf } from "./onnx-layers.ts";
import type { OnnxState, Stored } from "./onnx-model.ts";
import { DATA_TYPE, NodeList } from "./onnx-nodes.ts";
import { rawData } from "./onnx-write.ts";
import { type Edit, textField } from "./protobuf.ts";

/** Where a layer's shift can go. */
type Place =
  | { readonly kind: "constant"; readonly stored: Stored }
  | { readonly kind: "input"; readonly layer: OnnxLayer }
  | { readonly kind: "add"; readonly layer: OnnxLayer };

/** A model's biases, found once. */
export class Shifts {
  readonly #state: OnnxState;
  readonly #places: Map<string, Place> = new Map();

  constructor(state: OnnxState) {
    this.#state = state;
    const { file, stored } = state;
    const { main } = file;
    const uses = countUses(file.scopes);
    for (const name of main.outputs.keys()) uses.set(name, (uses.get(name) ?? 0) + 1);
    const constants = new Map<string, Stored>();
    for (const item of stored) {
      const { constant, entry, payload } = item;
      // external and shared ones would be changed elsewhere, too
      const free = constant?.scope === main && entry?.dtype === "F32" && payload && !payload.at && !entry.keep;
      if (free && uses.get(constant.name) === 1) constants.set(constant.name, item);
    }
    const vector = (name: string | undefined, outputs: number): Stored | undefined => {
      const item = name === undefined ? undefined : constants.get(name);
      const shape = item?.entry?.shape ?? [];
      return shape.at(-1) === outputs && item?.entry?.byteLength === outputs * 4 ? item : undefined;
    };
    const readers = new Map(main.nodes.flatMap((node) => node.inputs.map((name) => [name, node])));
    for (const layer of layersOf(state)) {
      const { node, weight } = layer;
      const outputs = (layer.layout === "outer" ? layer.shape[0] : layer.shape.at(-1)) as number;
      if (layer.kind === "lookup" || !node.output || !layer.node.outputs[0]) continue;
      if (node.op === "Conv") {
        const bias = vector(node.inputs[2], outputs);
        if (bias) this.#places.set(weight, { kind: "constant", stored: bias });
        else if (node.inputs.length === 2) this.#places.set(weight, { kind: "input", layer });
        continue;
      }
      // a Gemm's factors are not looked at, so its own bias is left alone
      const [output] = node.outputs as [string];
      const next = readers.get(output);
      const other = next?.inputs.find((name) => name !== output);
      const bias = next?.op === "Add" && uses.get(output) === 1 ? vector(other, outputs) : undefined;
      if (bias) this.#places.set(weight, { kind: "constant", stored: bias });
      else this.#places.set(weight, { kind: "add", layer });
    }
  }

  has(weight: string): boolean {
    return this.#places.has(weight);
  }

  /** Edits of the graph and new payloads of constants. */
  async apply(
    shifts: ReadonlyMap<string, Float32Array>,
  ): Promise<{ fixed: readonly Edit[]; replaced: ReadonlyMap<Stored, Uint8Array> }> {
    const fixed: Edit[] = [];
    const replaced = new Map<Stored, Uint8Array>();
    const prefix = this.#freePrefix();
    let count = 0;
    for (const [weight, shift] of shifts) {
      const place = this.#places.get(weight);
      if (!place) continue;
      if (place.kind === "constant") {
        const { entry } = place.stored;
        const bytes = (await entry!.read(0, entry!.byteLength)).slice();
        const values = new Float32Array(bytes.buffer);
        for (let i = 0; i < values.length; i++) values[i] = (values[i] as number) + (shift[i] as number);
        replaced.set(place.stored, bytes);
        continue;
      }
      const { node, conv } = place.layer;
      const name = `${prefix}${count++}`;
      const data = new Uint8Array(shift.buffer, shift.byteOffset, shift.byteLength);
      const list = new NodeList(() => name);
      list.constant(DATA_TYPE.F32, [shift.length], rawData(data));
      const within = node.scope.message;
      const insert = (at: number, bytes: Edit["bytes"]): void => void fixed.push({ within, start: at, end: at, bytes });
      if (conv) {
        insert(node.start, list.encode(1));
        const { end } = node.message;
        fixed.push({ within: node.message, start: end, end, bytes: textField(1, name) });
        continue;
      }
      const before = `${name}/raw`;
      fixed.push({ within: node.message, ...node.output!, bytes: textField(2, before) });
      list.op("Add", [before, name]);
      list.nameLast(node.outputs[0] as string);
      insert(node.end, list.encode(1));
    }
    return { fixed, replaced };
  }

  #freePrefix(): string {
    const { scopes } = this.#state.file;
    const taken = new Set(scopes.flatMap(({ nodes }) => nodes.flatMap(({ outputs }) => outputs)));
    let prefix = "wlq-shift/";
    for (let n = 1; [...taken].some((name) => name.startsWith(prefix)); n++) prefix = `wlq-shift${n}/`;
    return prefix;
  }
}
