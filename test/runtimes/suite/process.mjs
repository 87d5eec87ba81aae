// Process: a task from the command line, for Node, Deno and Bun; the answer goes to standard output as JSON.
import { argv } from "node:process";
import { answer } from "./answer.mjs";
import { load } from "./load.mjs";

console.log(JSON.stringify(await answer(argv[2], load)));
