// The calibrate binary's entry: statistics of layer inputs, and rounding that makes up for its errors.
export { packRows, packPatches } from "./columns";
export { columnSums, rankUpdate, rankUpdates, covariance } from "./second-moment";
export { fillMatrix, keepDiagonal, restoreMatrix, cholesky } from "./cholesky";
export {
  loadBlock,
  storeCodes,
  loadCodes,
  nearestPlane,
  matrixProduct,
  blockDots,
  blockErrors,
  descend,
  codePrices,
} from "./compensate";
export { blockForms } from "./forms";
export { codeMoments } from "./code-moments";
export { roundTo } from "./half";
