// Rate-host: what planning by the price of a bit, which is loaded when it is wanted, needs of the library.
import { sqnrOf } from "./codebook.ts";
import { cluster, fulfil, outputFiles } from "./compress.ts";
import { power2 } from "./ecsq.ts";
import { loadEntropyCoder } from "./entropy-coder.ts";
import { WlqError } from "./error.ts";
import { segmentsByteLength } from "./io/segment.ts";
import { checkAborted } from "./io/sink.ts";
import { meanSquare } from "./power.ts";
import { pointsAt } from "./rate-curve.ts";
import type { RateHost } from "./rate-plan.ts";
import { countElements } from "./tensor.ts";

export const RATE_HOST: RateHost = {
  checkAborted,
  cluster,
  countElements,
  fulfil,
  loadEntropyCoder,
  outputFiles,
  pointsAt,
  power2,
  segmentsByteLength,
  sqnrOf,
  meanSquare,
  WlqError,
};
