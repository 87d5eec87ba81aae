// Worker of a page: has no import map, so it loads the package's files by their addresses.
import { answer } from "./answer.mjs";

self.onmessage = async ({ data: task }) => {
  const { imports } = await (await fetch("/import-map.json")).json();
  postMessage(await answer(task, (name) => import(imports[name])));
};
