// The coders binary: what pages load as entropy and outliers, each when it is wanted; in Workers, which load all, one module.
export * from "./entropy";
export * from "./outliers";
