// Cold: a process that quantizes 10M weights once, from compilation on; prints the milliseconds.
import { init, quantizeSync } from "../src/index.ts";
import { gauss } from "./data.ts";

const weights = gauss(10_000_000, 11);
const started = performance.now();
await init();
quantizeSync(weights, { levels: 16 });
console.log(JSON.stringify({ ms: performance.now() - started }));
