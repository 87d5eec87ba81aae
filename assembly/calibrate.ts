// The calibrate binary's entry: statistics of layer inputs.
export { packRows, packPatches } from "./columns";
export { columnSums, rankUpdate, covariance } from "./second-moment";
