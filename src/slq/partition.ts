// Partition: which clusters freeze, by loss, by squared error, or zero first and then by magnitude.
import type { PartitionBy } from "./plan.ts";

/** One cluster of one layer, as the partition sees it. */
export interface Candidate {
  readonly layer: number;
  readonly code: number;
  readonly value: number;
  /** Squared error of its weights, before any of them is replaced. */
  readonly error: number;
  /** The network's loss with just this cluster quantized, where it was measured. */
  readonly loss?: number | undefined;
}

// Static order of the seed: the zero cluster, then the largest magnitudes, positive before negative; then by layer.
function byMagnitude(a: Candidate, b: Candidate): number {
  if ((a.value === 0) !== (b.value === 0)) return a.value === 0 ? -1 : 1;
  return Math.abs(b.value) - Math.abs(a.value) || b.value - a.value || a.layer - b.layer;
}

function byError(a: Candidate, b: Candidate): number {
  return b.error - a.error || byMagnitude(a, b);
}

function byLoss(a: Candidate, b: Candidate): number {
  if (a.loss === undefined || b.loss === undefined) {
    // what was not measured comes last
    if (a.loss === b.loss) return byError(a, b);
    return a.loss === undefined ? 1 : -1;
  }
  return a.loss === b.loss ? byMagnitude(a, b) : b.loss - a.loss;
}

/** Candidates in the order in which they freeze: those whose quantization hurts most first. Ties: the static order. */
export function partitionOrder(candidates: readonly Candidate[], by: PartitionBy): Candidate[] {
  return [...candidates].sort(by === "loss" ? byLoss : by === "error" ? byError : byMagnitude);
}
