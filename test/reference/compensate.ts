// Compensate: rounding with the inverse Hessian (GPTQ), and the best codes there are by trying all; both in plain loops.

/** The value nearest to t, ties to the lower. */
export function nearest(t: number, values: ArrayLike<number>): number {
  let code = 0;
  for (let c = 0; c + 1 < values.length; c++)
    if (t > ((values[c] as number) + (values[c + 1] as number)) / 2) code = c + 1;
  return code;
}

/** e' H e. */
export function errorOf(h: readonly (readonly number[])[], errors: readonly number[]): number {
  let sum = 0;
  for (const [i, row] of h.entries())
    for (const [j, x] of row.entries()) sum += (errors[i] as number) * x * (errors[j] as number);
  return sum;
}

function inverse(h: readonly (readonly number[])[]): number[][] {
  const n = h.length;
  const a = h.map((row, i) => [...row, ...row.map((_, j) => (i === j ? 1 : 0))]);
  for (let k = 0; k < n; k++) {
    const pivot = a[k]!;
    const scale = pivot[k]!;
    for (let j = 0; j < 2 * n; j++) pivot[j]! /= scale;
    for (let i = 0; i < n; i++) {
      if (i === k) continue;
      const factor = a[i]![k]!;
      for (let j = 0; j < 2 * n; j++) a[i]![j]! -= factor * pivot[j]!;
    }
  }
  return a.map((row) => row.slice(n));
}

/** Frantar et al. 2023, section 3: one column after the other, the dearest first, the rest moved to make up for it. */
export function gptq(
  h: readonly (readonly number[])[],
  weights: readonly number[],
  values: ArrayLike<number>,
): number[] {
  const n = weights.length;
  const left = weights.slice();
  const inv = inverse(h);
  const codes = new Array<number>(n).fill(0);
  // of equal ones the later first, as a stable ascending order read backwards has it
  const order = [...weights.keys()].sort((a, b) => h[a]![a]! - h[b]![b]!).reverse();
  for (const [done, i] of order.entries()) {
    codes[i] = nearest(left[i]!, values);
    const error = (left[i]! - (values[codes[i]!] as number)) / inv[i]![i]!;
    const rest = order.slice(done + 1);
    for (const j of rest) left[j]! -= error * inv[i]![j]!;
    const row = inv[i]!.slice();
    for (const j of rest) for (const k of rest) inv[j]![k]! -= (row[j]! * row[k]!) / row[i]!;
  }
  return codes;
}

/** The least e' H e of all codes there are. */
export function leastError(
  h: readonly (readonly number[])[],
  weights: readonly number[],
  values: ArrayLike<number>,
): number {
  const n = weights.length;
  let least = Number.POSITIVE_INFINITY;
  for (let all = 0; all < values.length ** n; all++) {
    let rest = all;
    const errors = weights.map((w) => {
      const value = values[rest % values.length] as number;
      rest = Math.floor(rest / values.length);
      return w - value;
    });
    least = Math.min(least, errorOf(h, errors));
  }
  return least;
}
