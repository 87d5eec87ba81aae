// Plan-host: the parts of the library that planning, which is loaded when it is wanted, works with.
import { runAtoms } from "./atoms.ts";
import { groupingOf, sqnrOf } from "./codebook.ts";
import { cluster, fulfil, outputFiles } from "./compress.ts";
import { EcsqCurve, power2 } from "./ecsq.ts";
import { loadEntropyCoder } from "./entropy-coder.ts";
import { WlqError } from "./error.ts";
import { segmentsByteLength } from "./io/segment.ts";
import { checkAborted } from "./io/sink.ts";
import { groupRun } from "./passes.ts";
import type { PlanHost } from "./plan-task.ts";
import { codebookRun } from "./scale.ts";
import { countElements } from "./tensor.ts";
import { WeightReader, wholeTensor } from "./weights.ts";
import { leave } from "./work.ts";

export const PLAN_HOST: PlanHost = {
  checkAborted,
  cluster,
  codebookRun,
  countElements,
  EcsqCurve,
  fulfil,
  groupingOf,
  groupRun,
  leave,
  loadEntropyCoder,
  outputFiles,
  power2,
  runAtoms,
  segmentsByteLength,
  sqnrOf,
  WeightReader,
  wholeTensor,
  WlqError,
};
