// The decode binary's entry: what a reader of compressed tensors needs, and nothing else.
export { f32To16 } from "./half";
export { unpack } from "./unpack";
export { xxh64 } from "./checksum";
export { lookup32, lookupRuns } from "./lookup";
