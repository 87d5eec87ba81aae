// The part of the package `benchmark` that is used here; its published types are for CommonJS.
declare module "benchmark" {
  export default class Benchmark {
    constructor(name: string, run: () => void, options: { maxTime: number; minSamples: number; initCount: number });
    readonly error?: Error;
    readonly stats: { readonly sample: number[]; readonly mean: number; readonly rme: number };
    run(options: { async: boolean }): this;
  }
}
