// A Caffe net's structure: layers of all three generations and their blobs as byte ranges, payloads jumped over.
import { WlqError } from "../error.ts";
import type { ByteSource } from "../io/source.ts";
import type { Field, Message } from "./protobuf.ts";
import { FIXED32, FIXED64, LENGTH, lengthTag, varintTag, WireReader } from "./protobuf.ts";

/** What a Caffe file may make us keep in memory. */
export const CAFFE_LIMITS: Readonly<Record<"layers" | "blobs" | "pieces" | "rank", number>> = {
  /** The deepest published nets (ResNet-1001 with its splits) have some 5 000. */
  layers: 1 << 16,
  blobs: 1 << 18,
  /** Stretches of payload in all blobs; every known writer makes one a blob. */
  pieces: 1 << 19,
  /** Dimensions of a blob: Caffe's own limit. */
  rank: 32,
};

/** One stretch of a payload: a packed field, or a run of unpacked elements that all take `step` bytes. */
export interface Piece {
  readonly start: number;
  readonly payload: number;
  end: number;
  /** Bytes from one element to the next; 0 for a packed field. */
  readonly step: number;
}

/** The fields that can carry a payload. */
export type DataField = "data" | "double_data" | "raw_data";

/** A BlobProto. */
export interface BlobProto {
  readonly message: Message;
  /** `shape.dim`; undefined without a `shape`. */
  dims?: number[];
  /** num, channels, height, width; undefined where none of them is set. */
  legacy?: [number, number, number, number];
  readonly pieces: Map<DataField, Piece[]>;
  /** What `raw_data` holds, in NVIDIA's and OpenCV's proto: 0 double, 1 float, 2 float16. */
  rawType?: number;
}

/** A LayerParameter, V1LayerParameter or V0LayerParameter with blobs. */
export interface Layer {
  name: string;
  /** As the newest generation spells it: `Convolution`; the number as text where that has no name here. */
  type: string;
  /** `inner_product_param.transpose`: weights are [in, out]. */
  transpose: boolean;
  readonly blobs: BlobProto[];
}

/** Where a generation keeps what is wanted. */
interface Layout {
  readonly name: number;
  readonly type: number;
  readonly blobs: number;
  readonly innerProduct: number;
  /** The field with a layer of the generation before. */
  readonly older?: Layout;
}

const V0: Layout = { name: 1, type: 2, blobs: 50, innerProduct: 0 };
const V1: Layout = { name: 4, type: 5, blobs: 6, innerProduct: 17, older: V0 };
const LAYER: Layout = { name: 1, type: 2, blobs: 7, innerProduct: 117 };

/** V1LayerParameter.LayerType and V0's words, where they have weights. */
const OLD_TYPES: Readonly<Record<string, string>> = {
  "4": "Convolution", "14": "InnerProduct", "39": "Deconvolution", conv: "Convolution", innerproduct: "InnerProduct",
}; // biome-ignore format: a table

const FIXED_DATA: Readonly<Record<number, DataField>> = { [5 * 8 + FIXED32]: "data", [8 * 8 + FIXED64]: "double_data" };
const LENGTH_DATA: Readonly<Record<number, DataField>> = { 5: "data", 8: "double_data", 12: "raw_data" };

/** Reads the layers that have blobs, in file order. Fields nobody asks for are jumped over. */
export async function readNet(source: ByteSource): Promise<Layer[]> {
  const wire = new WireReader(source);
  const layers: Layer[] = [];
  const counts = { layers: 0, blobs: 0, pieces: 0 };
  await wire.walk(wire.root, async (field) => {
    const layout = field.tag === lengthTag(100) ? LAYER : field.tag === lengthTag(2) ? V1 : undefined;
    if (!layout) return;
    countOne("layers");
    const layer: Layer = { name: "", type: "", transpose: false, blobs: [] };
    await readLayer(layer, wire.child(wire.root, field), layout);
    layer.type = OLD_TYPES[layer.type] ?? layer.type;
    if (layer.blobs.length > 0) layers.push(layer);
  });
  if (counts.layers === 0) throw new WlqError("malformed", "Caffe: the file has no layer, a net has some");
  return layers;

  function countOne(what: keyof typeof counts): void {
    if (++counts[what] > CAFFE_LIMITS[what])
      throw new WlqError("limit", `Caffe: more than ${CAFFE_LIMITS[what]} ${what}`);
  }

  async function readLayer(layer: Layer, message: Message, layout: Layout): Promise<void> {
    await wire.walk(message, async (field) => {
      const { number, tag } = field;
      if (tag === varintTag(layout.type)) layer.type = String(field.value);
      if (field.wire !== LENGTH) return;
      if (number === layout.name) layer.name = await wire.text(field);
      else if (number === layout.type) layer.type = await wire.text(field);
      else if (number === layout.blobs) await readBlob(layer, wire.child(message, field));
      else if (number === layout.innerProduct) await readInnerProduct(layer, wire.child(message, field));
      else if (number === 1 && layout.older) await readLayer(layer, wire.child(message, field), layout.older);
    });
  }

  function readInnerProduct(layer: Layer, message: Message): Promise<void> {
    return wire.walk(message, (field) => {
      if (field.tag === varintTag(6)) layer.transpose = field.value !== 0;
    });
  }

  async function readBlob(layer: Layer, message: Message): Promise<void> {
    countOne("blobs");
    const blob: BlobProto = { message, pieces: new Map() };
    layer.blobs.push(blob);
    await wire.walk(message, (field) => {
      const { number, tag } = field;
      if (number <= 4 && tag === varintTag(number)) {
        blob.legacy ??= [0, 0, 0, 0];
        blob.legacy[number - 1] = field.value;
      } else if (tag === lengthTag(7)) {
        blob.dims ??= [];
        return readShape(blob.dims, wire.child(message, field));
      } else if (tag === varintTag(10)) blob.rawType = field.value;
      else {
        const data = field.wire === LENGTH ? LENGTH_DATA[number] : FIXED_DATA[tag];
        if (data) addPiece(blob, data, field);
      }
    });
  }

  function readShape(dims: number[], message: Message): Promise<void> {
    return wire.walk(message, (field) => {
      if (field.tag === varintTag(1) || field.tag === lengthTag(1))
        return wire.integers(field, dims, CAFFE_LIMITS.rank);
    });
  }

  /** Unpacked elements come as a field each: they are kept as one run, so a long blob stays one record. */
  function addPiece(blob: BlobProto, data: DataField, { wire, start, payload, end }: Field): void {
    const step = wire === LENGTH ? 0 : end - start;
    const list = blob.pieces.get(data) ?? [];
    blob.pieces.set(data, list);
    const last = list.at(-1);
    if (step > 0 && last && last.step === step && last.end === start) last.end = end;
    else {
      countOne("pieces");
      list.push({ start, payload, end, step });
    }
  }
}
