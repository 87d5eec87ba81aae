// Allocate: one option a tensor such that the error is least within a limit of bytes, or the bytes within one of error.

/** One way to code a tensor. */
export interface Option {
  readonly bytes: number;
  /** In any unit that adds up over tensors. */
  readonly error: number;
}

/** An option for every tensor. */
export interface Allocation {
  /** The option of each tensor, by its place in the list. */
  readonly picks: readonly number[];
  readonly bytes: number;
  readonly error: number;
  /** What is minimised is nowhere below this: where it is `error` (or `bytes`), the allocation is proved optimal. */
  readonly bound: number;
}

/** One point of the trade-off. */
export interface Point {
  readonly bytes: number;
  readonly error: number;
}

// Most partial allocations that are kept a tensor: beyond it the search is no longer exhaustive, but still bounded.
const MOST_STATES = 600;
// Nearer to the bound than this share nothing is searched for: 0.0002 dB.
const NEAR = 5e-5;

/** The least error within `limit` bytes; `undefined` where even the smallest options are more. */
export function leastError(tensors: readonly (readonly Option[])[], limit: number): Allocation | undefined {
  const lists = tensors.map((options) => options.map(({ bytes, error }) => ({ size: bytes, cost: error })));
  const found = allocate(lists, limit);
  return found && { picks: found.picks, bytes: found.size, error: found.cost, bound: found.bound };
}

/** The fewest bytes within `limit` of error; `undefined` where even the best options are more. */
export function fewestBytes(tensors: readonly (readonly Option[])[], limit: number): Allocation | undefined {
  const lists = tensors.map((options) => options.map(({ bytes, error }) => ({ size: error, cost: bytes })));
  const found = allocate(lists, limit);
  return found && { picks: found.picks, bytes: found.cost, error: found.size, bound: found.bound };
}

/** The trade-off from smallest to best: all allocations that are optimal for some price of a byte. */
export function frontier(tensors: readonly (readonly Option[])[]): Point[] {
  const lists = tensors.map((options) => options.map(({ bytes, error }) => ({ size: bytes, cost: error })));
  const hulls = lists.map(hullOf);
  let bytes = 0;
  let error = 0;
  for (const [first] of hulls) {
    bytes += first?.size ?? 0;
    error += first?.cost ?? 0;
  }
  const points = [{ bytes, error }];
  for (const { size, cost } of stepsOf(hulls)) {
    bytes += size;
    error -= cost;
    points.push({ bytes, error: Math.max(0, error) });
  }
  return points;
}

interface Item {
  readonly size: number;
  readonly cost: number;
}

interface Candidate extends Item {
  /** Its place in the caller's list. */
  readonly index: number;
}

/** From one option of a hull to the next: so much larger, so much less cost. */
interface Step extends Item {
  readonly tensor: number;
}

interface Found {
  readonly picks: number[];
  readonly size: number;
  readonly cost: number;
  readonly bound: number;
}

/** Options that are not larger than another of less cost, ascending in size. */
function useful(items: readonly Item[]): Candidate[] {
  const sorted = items
    .map(({ size, cost }, index) => ({ size, cost, index }))
    .sort((a, b) => a.size - b.size || a.cost - b.cost || a.index - b.index);
  let lowest = Number.POSITIVE_INFINITY;
  return sorted.filter(({ cost }) => {
    const better = cost < lowest;
    if (better) lowest = cost;
    return better;
  });
}

/** The lower convex hull: each step saves less a byte than the one before. */
function hullOf(items: readonly Item[]): Candidate[] {
  const hull: Candidate[] = [];
  for (const next of useful(items)) {
    while (hull.length > 1) {
      const a = hull.at(-2) as Candidate;
      const b = hull.at(-1) as Candidate;
      if ((a.cost - b.cost) * (next.size - b.size) > (b.cost - next.cost) * (b.size - a.size)) break;
      hull.pop();
    }
    hull.push(next);
  }
  return hull;
}

/** Steps of all hulls, the most worth first; of one hull in order. */
function stepsOf(hulls: readonly (readonly Candidate[])[]): Step[] {
  const steps = hulls.flatMap((hull, tensor) =>
    hull.slice(1).map(({ size, cost }, i): Step => {
      const before = hull[i] as Candidate;
      return { tensor, size: size - before.size, cost: before.cost - cost };
    }),
  );
  return steps.sort((a, b) => b.cost / b.size - a.cost / a.size || a.tensor - b.tensor);
}

/**
 * The multiple-choice knapsack problem: Lagrangian sweep over the convex hulls, slack filled greedily, and a search
 * among the options that can still be better (Pisinger 1995: reduced costs against the gap to the bound).
 */
function allocate(tensors: readonly (readonly Item[])[], limit: number): Found | undefined {
  const lists = tensors.map(useful);
  const hulls = tensors.map(hullOf);
  const at = hulls.map(() => 0);
  let size = hulls.reduce((sum, [first]) => sum + (first?.size ?? 0), 0);
  let cost = hulls.reduce((sum, [first]) => sum + (first?.cost ?? 0), 0);
  if (!(size <= limit)) return undefined;
  let price: number | undefined;
  let bound = Number.NEGATIVE_INFINITY;
  const closed = new Set<number>();
  for (const step of stepsOf(hulls)) {
    if (closed.has(step.tensor)) continue;
    if (size + step.size > limit) {
      if (price === undefined) {
        price = step.cost / step.size;
        bound = cost - price * (limit - size);
      }
      closed.add(step.tensor);
      continue;
    }
    size += step.size;
    cost -= step.cost;
    (at[step.tensor] as number)++;
  }
  const picks = at.map((i, t) => hulls[t]?.[i] as Candidate);
  if (price === undefined) return total(picks, Number.NEGATIVE_INFINITY, true);
  fill(lists, picks, limit);
  const greedy = total(picks, bound, false);
  if (greedy.cost - bound <= NEAR * greedy.cost) return greedy;
  const best = search(lists, picks, limit, price, bound);
  return total(best.picks, bound, best.proved);
}

function total(picks: readonly Candidate[], bound: number, proved: boolean): Found {
  let size = 0;
  let cost = 0;
  for (const pick of picks) {
    size += pick.size;
    cost += pick.cost;
  }
  return { picks: picks.map(({ index }) => index), size, cost, bound: proved ? cost : Math.min(bound, cost) };
}

/** Spends the slack, the largest gain first. */
function fill(lists: readonly (readonly Candidate[])[], picks: Candidate[], limit: number): void {
  const at = picks.map((pick, t) => (lists[t] as readonly Candidate[]).findIndex(({ index }) => index === pick.index));
  for (;;) {
    const slack = limit - picks.reduce((sum, { size }) => sum + size, 0);
    let gain = 0;
    let tensor = -1;
    let place = -1;
    for (let t = 0; t < lists.length; t++) {
      const pick = picks[t] as Candidate;
      const list = lists[t] as readonly Candidate[];
      // the largest that fits is the best
      let i = at[t] as number;
      while (i + 1 < list.length && (list[i + 1] as Candidate).size - pick.size <= slack) i++;
      const own = pick.cost - (list[i] as Candidate).cost;
      if (own <= gain) continue;
      gain = own;
      tensor = t;
      place = i;
    }
    if (tensor < 0) return;
    at[tensor] = place;
    picks[tensor] = lists[tensor]?.[place] as Candidate;
  }
}

interface State {
  readonly size: number;
  readonly cost: number;
  /** How far the choices so far are from the best for the price. */
  readonly excess: number;
  readonly before: State | undefined;
  readonly pick: Candidate | undefined;
}

/** What beats `incumbent`, tensor by tensor; `proved` where nothing that could was given up. */
function search(
  lists: readonly (readonly Candidate[])[],
  incumbent: readonly Candidate[],
  limit: number,
  price: number,
  bound: number,
): { readonly picks: readonly Candidate[]; readonly proved: boolean } {
  let top = incumbent.reduce((sum, { cost }) => sum + cost, 0);
  // roundings: what seems worth less than this is worth nothing
  const grain = 1e-12 * Math.abs(top);
  const reduced = lists.map((list) => {
    const base = Math.min(...list.map(({ size, cost }) => cost + price * size));
    return list.map((pick) => ({ pick, excess: Math.max(0, pick.cost + price * pick.size - base) }));
  });
  const open = reduced
    .map((list, tensor) => ({ tensor, list: list.filter(({ excess }) => excess < top - bound + grain) }))
    .sort((a, b) => a.list.length - b.list.length || a.tensor - b.tensor);
  const least: number[] = [0];
  const most: number[] = [0];
  for (const { list } of [...open].reverse()) {
    least.unshift((least[0] as number) + Math.min(...list.map(({ pick }) => pick.size)));
    most.unshift((most[0] as number) + Math.max(...list.map(({ pick }) => pick.size)));
  }
  let states: State[] = [{ size: 0, cost: 0, excess: 0, before: undefined, pick: undefined }];
  let proved = true;
  for (let i = 0; i < open.length; i++) {
    const next: State[] = [];
    for (const state of states) {
      for (const { pick, excess } of (open[i] as (typeof open)[number]).list) {
        const size = state.size + pick.size;
        if (size + (least[i + 1] as number) > limit) break;
        const sum = state.excess + excess;
        // what stays unspent costs its price
        const unspent = Math.max(0, limit - size - (most[i + 1] as number)) * price;
        if (sum + unspent >= top - bound + grain) continue;
        next.push({ size, cost: state.cost + pick.cost, excess: sum, before: state, pick });
      }
    }
    next.sort((a, b) => a.size - b.size || a.cost - b.cost);
    let lowest = Number.POSITIVE_INFINITY;
    states = next.filter(({ cost }) => {
      const better = cost < lowest;
      if (better) lowest = cost;
      return better;
    });
    if (states.length > MOST_STATES) {
      proved = false;
      states = thinned(states);
    }
  }
  let best: State | undefined;
  for (const state of states) {
    if (state.cost >= top - grain) continue;
    best = state;
    top = state.cost;
  }
  if (!best) return { picks: incumbent, proved };
  const picks = [...incumbent];
  let state = best;
  for (let i = open.length - 1; i >= 0; i--) {
    picks[(open[i] as (typeof open)[number]).tensor] = state.pick as Candidate;
    state = state.before as State;
  }
  return { picks, proved };
}

/** Of each of equal ranges of size the state with the least excess. */
function thinned(states: readonly State[]): State[] {
  const first = (states[0] as State).size;
  const width = ((states.at(-1) as State).size - first) / MOST_STATES;
  const kept: State[] = [];
  let range = -1;
  for (const state of states) {
    const own = Math.floor((state.size - first) / width);
    const last = kept.at(-1);
    if (own > range || !last) kept.push(state);
    else if (state.excess < last.excess) kept[kept.length - 1] = state;
    range = own;
  }
  return kept;
}
