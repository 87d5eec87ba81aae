// Plan-task: what planning, which is loaded when it is wanted, is given: a model that is open, and the library's parts.
import type { runAtoms } from "./atoms.ts";
import type { OpenCalibration } from "./calibration.ts";
import type { groupingOf, sqnrOf } from "./codebook.ts";
import type { cluster, fulfil, outputFiles } from "./compress.ts";
import type { EcsqCurve, power2 } from "./ecsq.ts";
import type { loadEntropyCoder } from "./entropy-coder.ts";
import type { WlqError } from "./error.ts";
import type { Model } from "./formats/format.ts";
import type { ImportanceOf } from "./importance.ts";
import type { segmentsByteLength } from "./io/segment.ts";
import type { checkAborted } from "./io/sink.ts";
import type { groupRun } from "./passes.ts";
import type { kindOf } from "./plan.ts";
import type { codebookRun } from "./scale.ts";
import type { countElements } from "./tensor.ts";
import type { EncodeScope } from "./wasm/encode.ts";
import type { WeightReader, wholeTensor } from "./weights.ts";
import type { leave, Work } from "./work.ts";

/** What planning needs of files that it does not import, so that bundlers can keep it apart. */
export interface PlanHost {
  readonly checkAborted: typeof checkAborted;
  readonly cluster: typeof cluster;
  readonly codebookRun: typeof codebookRun;
  readonly countElements: typeof countElements;
  readonly EcsqCurve: typeof EcsqCurve;
  readonly fulfil: typeof fulfil;
  readonly groupingOf: typeof groupingOf;
  readonly groupRun: typeof groupRun;
  readonly leave: typeof leave;
  readonly loadEntropyCoder: typeof loadEntropyCoder;
  readonly outputFiles: typeof outputFiles;
  readonly power2: typeof power2;
  readonly runAtoms: typeof runAtoms;
  readonly segmentsByteLength: typeof segmentsByteLength;
  readonly sqnrOf: typeof sqnrOf;
  readonly WeightReader: typeof WeightReader;
  readonly wholeTensor: typeof wholeTensor;
  readonly WlqError: typeof WlqError;
}

/** What is to be planned. */
export interface PlanTask {
  readonly host: PlanHost;
  readonly scope: EncodeScope;
  readonly model: Model;
  readonly to: "container" | "onnx";
  /** Which of the three the target is. */
  readonly kind: ReturnType<typeof kindOf>;
  /** Loses tensors that are not finite, which `kept` gets. */
  readonly work: Work[];
  readonly kept: Map<string, string>;
  readonly nonFinite: "error" | "keep";
  readonly known: OpenCalibration | undefined;
  readonly importance: ImportanceOf | undefined;
  readonly sensitivities: Readonly<Record<string, number>>;
  readonly weighting: "absolute" | "relative";
  readonly warnings: string[];
  readonly signal: AbortSignal | undefined;
  /** `tensor` is next, or done, and `done` of `total` weights are through. */
  tell(tensor: string, done: number, total: number): void;
}
