// The encode binary's entry: clustering, assignment and packing; decoding of model dtypes.
export { xxh64 } from "./checksum";
export { f16ToF32, f32ToF16, bf16ToF32, f32ToBf16, f64ToF32, f32ToF64, roundTo } from "./half";
export { firstNonFinite, moments, maxMagnitude } from "./moments";
export { countCells, layout, histogram, settle, histogramWeighted, binAtoms, countDistinct, distinctEntries } from "./histogram";
export { sortValues, mergeEqual, promote } from "./sort";
export { prefix, coarsen } from "./atoms";
export { optimal, optimalScratch } from "./optimal";
export { lloyd, lloydStart } from "./lloyd";
export { ecsqPrefix, ecsq } from "./ecsq";
export { binaryLogarithm } from "./log2";
export { codebookOf, codebookOfCells, tidy, thresholds } from "./codebook";
export { firstUnfitImportance, measureWeighted } from "./importance";
export { assign, assignRuns, assignTable, measure } from "./assign";
export { pack } from "./pack";
export { unpack } from "./unpack";
export { lookup32, lookupRuns } from "./lookup";
export { scaleCodebook, normalizeRuns, scaleSums } from "./scale";
export { gather } from "./gather";
