// Measure: one benchmark by the `benchmark` package, its fastest run and its spread, as a row.
import Benchmark from "benchmark";

/** One line of the result. */
export interface Row {
  readonly name: string;
  /** Fastest run. */
  readonly ms: number;
  readonly meanMs: number;
  /** Relative margin of error of the mean, in percent. */
  readonly spread: number;
  readonly runs: number;
  /** Bytes of float32 weights a run reads or makes, per second of the fastest run. */
  readonly gbPerSecond: number;
  readonly [extra: string]: unknown;
}

/** Runs `run` until the mean is known or `seconds` are over; `bytes` of weights a run. */
export function measure(name: string, bytes: number, run: () => void, seconds = 2): Row {
  const bench = new Benchmark(name, run, { maxTime: seconds, minSamples: 5, initCount: 1 });
  bench.run({ async: false });
  const { error, stats } = bench;
  if (error) throw error;
  const fastest = Math.min(...stats.sample);
  return {
    name,
    ms: fastest * 1e3,
    meanMs: stats.mean * 1e3,
    spread: stats.rme,
    runs: stats.sample.length,
    gbPerSecond: bytes / fastest / 1e9,
  };
}

/** For what takes long: `times` runs by the clock. */
export function timeOnce(name: string, bytes: number, run: () => void, times = 1): Row {
  const ms: number[] = [];
  for (let i = 0; i < times; i++) {
    const started = performance.now();
    run();
    ms.push(performance.now() - started);
  }
  const fastest = Math.min(...ms);
  const mean = ms.reduce((a, b) => a + b) / times;
  return { name, ms: fastest, meanMs: mean, spread: 0, runs: times, gbPerSecond: bytes / fastest / 1e6 };
}
