// The Worker's entry under test: the example itself, with a bucket that is watched and can be made to fail.
import worker from "./src/index.ts";

let operations = 0;

/** Before every so many operations of the bucket the Worker waits for the test, which looks at its memory meanwhile. */
function watched(bucket, { sample, every, failAfter }) {
  let parts = 0;
  const before = async () => {
    operations++;
    if (sample && operations % every === 0) await (await fetch(sample)).arrayBuffer();
  };
  const upload = (inner) => ({
    async uploadPart(...args) {
      await before();
      if (failAfter !== undefined && ++parts > failAfter) throw new Error("the bucket failed");
      return inner.uploadPart(...args);
    },
    abort: () => inner.abort(),
    complete: (parts) => inner.complete(parts),
  });
  return {
    async get(...args) {
      await before();
      return bucket.get(...args);
    },
    createMultipartUpload: async (...args) => upload(await bucket.createMultipartUpload(...args)),
    head: (...args) => bucket.head(...args),
    put: (...args) => bucket.put(...args),
    list: (...args) => bucket.list(...args),
    delete: (...args) => bucket.delete(...args),
  };
}

function environment(env, request) {
  const wish = (name) => request?.headers.get(`x-test-${name}`) ?? undefined;
  const failAfter = wish("fail-after") === undefined ? undefined : Number(wish("fail-after"));
  const options = { sample: wish("sample"), every: Number(wish("every") ?? 1), failAfter };
  return { ...env, BUCKET: watched(env.BUCKET, options), INLINE_BYTES: wish("inline") ?? env.INLINE_BYTES };
}

export default {
  async fetch(request, env, ctx) {
    const { pathname } = new URL(request.url);
    if (pathname === "/test/operations") return new Response(String(operations));
    if (pathname === "/test/objects") {
      const { objects } = await env.BUCKET.list();
      return Response.json(objects.map(({ key }) => key));
    }
    return worker.fetch(request, environment(env, request), ctx);
  },
  queue: (batch, env, ctx) => worker.queue(batch, environment(env), ctx),
};
