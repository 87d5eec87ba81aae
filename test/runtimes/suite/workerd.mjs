// Worker: a task from the path of a request, for workerd, where binaries are imported as modules.
import { answer } from "./answer.mjs";
import decode from "./decode.scalar.wasm";
import encode from "./encode.scalar.wasm";
import { load } from "./load.mjs";
import slq from "./slq.scalar.wasm";

export default {
  async fetch(request) {
    const task = new URL(request.url).pathname.slice(1);
    if (task === "ready") return new Response("ready");
    if (task === "imported") return Response.json({ value: await scalarWithoutModule() });
    return Response.json(await answer(task, load, { encode, decode, slq }));
  },
};

/** The scalar build is not in what the package imports here: asking for it without handing it in is an error. */
async function scalarWithoutModule() {
  const { init } = await load("wlq");
  return await init({ simd: false }).then(
    () => "no error",
    ({ code, message }) => `${code}: ${message}`,
  );
}
