// A container with a scale, a codebook a channel, and tensors that passed through.
import type { CompressOptions } from "../../src/index.ts";
import { safetensorsFile } from "../formats/safetensors-fixture.ts";
import { f32 } from "./models.ts";
import { containerOf, SMALL } from "./use.ts";

const model = safetensorsFile(
  [
    f32("w", [6, 10]),
    f32("v", [3, 4, 5]),
    { name: "i", dtype: "I16", shape: [3], bytes: Uint8Array.of(1, 2, 3, 4, 5, 6) },
    { name: "e", dtype: "F32", shape: [0], bytes: new Uint8Array(0) },
  ],
  { format: "pt" },
);
const rules: CompressOptions = {
  ...SMALL,
  tensors: [
    { match: /w/, options: { levels: 17, scale: "group", groupSize: 16 } },
    { match: /v/, options: { levels: 3, granularity: "channel", axis: 1 } },
  ],
};

export const CONTAINER: Uint8Array<ArrayBuffer> = await containerOf(model, rules);
