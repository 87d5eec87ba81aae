// The slq binary's entry: what rounds of freezing need beside the encode binary.
export { freeze, freezeBeyond, snap, firstMoved, countFree, takeFree } from "./freeze";
export { countMagnitudes, countLower } from "./magnitude";
export { halfOctaves } from "./octaves";
export { referenceAssign, referenceSums } from "./reference";
