// Lloyd: alternate nearest centroid and mean of members, on prefix sums: O(k log n) a step.
import { mean } from "./atoms";

/**
 * Improves `codebook` (f64 x k, ascending) on the atoms until nothing moves or `steps` are done; returns the steps.
 *
 * An atom at the midpoint goes to the lower centroid; an empty cluster keeps its centroid; `pinned` (u8 x k, or 0)
 * marks centroids that keep their value. `p0`, `p1`, `shift` from `prefix`. Source: Lloyd 1957/1982.
 */
export function lloyd(
  codebook: usize,
  k: i32,
  weight: usize,
  sum: usize,
  p0: usize,
  p1: usize,
  shift: f64,
  atoms: i32,
  pinned: usize,
  steps: i32,
): i32 {
  let step = 0;
  for (; step < steps; step++) {
    let moved = false;
    let begin = 0;
    for (let c = 0; c < k; c++) {
      const own = load<f64>(codebook + (<usize>c << 3));
      let end = atoms;
      if (c < k - 1) {
        // the next centroid has not moved yet in this step, but this one's left neighbour has: midpoints are those of
        // the step's start, since `own` is read before it is written
        const middle = (own + load<f64>(codebook + (<usize>(c + 1) << 3))) * 0.5;
        end = upperBound(weight, sum, begin, atoms, middle);
      }
      if (end > begin && !(pinned && load<u8>(pinned + c))) {
        const b = <usize>begin << 3;
        const e = <usize>end << 3;
        const value = (load<f64>(p1 + e) - load<f64>(p1 + b)) / (load<f64>(p0 + e) - load<f64>(p0 + b)) + shift;
        if (value != own) {
          store<f64>(codebook + (<usize>c << 3), value);
          moved = true;
        }
      }
      begin = end;
    }
    if (!moved) break;
  }
  return step;
}

// First atom in [low, high) whose value exceeds x, or `high`.
function upperBound(weight: usize, sum: usize, low: i32, high: i32, x: f64): i32 {
  while (low < high) {
    const middle = (low + high) >> 1;
    if (mean(weight, sum, middle) <= x) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * A start for {@link lloyd}: k centroids at equal steps over the range (`kind` 0) or at the quantiles (i + 0.5) / k
 * of the weight (`kind` 1).
 */
export function lloydStart(codebook: usize, k: i32, weight: usize, sum: usize, p0: usize, atoms: i32, kind: i32): void {
  const low = mean(weight, sum, 0);
  const high = mean(weight, sum, atoms - 1);
  const total = load<f64>(p0 + (<usize>atoms << 3));
  let i = 0;
  for (let c = 0; c < k; c++) {
    let value: f64;
    if (kind == 0) {
      value = low + ((high - low) * (<f64>c + 0.5)) / <f64>k;
    } else {
      const target = (total * (<f64>c + 0.5)) / <f64>k;
      while (i < atoms - 1 && load<f64>(p0 + (<usize>(i + 1) << 3)) < target) i++;
      value = mean(weight, sum, i);
    }
    store<f64>(codebook + (<usize>c << 3), value);
  }
}
