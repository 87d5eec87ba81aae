// A Worker that takes model files, stores them compressed in R2, and serves them whole or tensor by tensor.
import { type CompressOptions, compress, tensorStream, WlqError } from "wlq";
import { open } from "wlq/decoder";
import { onnx } from "wlq/onnx";
import { r2Sink, r2Source } from "./r2.ts";

interface Env {
  readonly BUCKET: R2Bucket;
  /** Who may write: `wrangler secret put TOKEN`. */
  readonly TOKEN?: string;
  /** Models above INLINE_BYTES are compressed by this Worker's queue consumer, with more time. Without it, all at once. */
  readonly JOBS?: Queue<Job>;
  readonly INLINE_BYTES?: string;
}

/** An uploaded model that waits to be compressed. */
interface Job {
  readonly name: string;
  readonly upload: string;
  readonly options: CompressOptions;
}

const modelKey = (name: string): string => `models/${name}`;
const failureKey = (name: string): string => `failures/${name}`;
const uploadPrefix = (name: string): string => `uploads/${name}/`;

export default {
  async fetch(request, env, ctx): Promise<Response> {
    try {
      const [, root, name = "", list, tensor] = new URL(request.url).pathname.split("/").map(decodeURIComponent);
      if (root !== "models" || !/^[\w.-]{1,100}$/.test(name) || (list ?? "tensors") !== "tensors") {
        return problem(
          404,
          "not-found",
          "there are /models/:name, /models/:name/tensors and /models/:name/tensors/:tensor",
        );
      }
      if (request.method === "GET")
        return list ? await getTensor(env, name, tensor) : await getModel(request, env, name);
      if (!env.TOKEN || request.headers.get("authorization") !== `Bearer ${env.TOKEN}`) {
        return problem(401, "unauthorized", "writing needs the header Authorization: Bearer TOKEN");
      }
      if (request.method === "DELETE" && !list) {
        await env.BUCKET.delete([modelKey(name), failureKey(name)]);
        return new Response(null, { status: 204 });
      }
      if (request.method !== "PUT" || list) return problem(405, "method", `${request.method} is not done here`);
      const work = putModel(request, env, name);
      // goes on when the client leaves: cleaning up takes a moment
      ctx.waitUntil(work.catch(() => {}));
      return await work;
    } catch (error) {
      return refusal(error);
    }
  },

  /** Jobs that take longer than a request may. A bad model is noted; anything else is tried again. */
  async queue(batch, env): Promise<void> {
    for (const message of batch.messages) {
      const { name, upload } = message.body;
      try {
        await shrink(env, message.body);
      } catch (error) {
        if (!isBadInput(error)) throw error;
        await env.BUCKET.put(failureKey(name), await refusal(error).text());
      }
      await env.BUCKET.delete(upload);
    }
  },
} satisfies ExportedHandler<Env, Job>;

/** Stores the upload, then the compressed model; the upload goes in any case. */
async function putModel(request: Request, env: Env, name: string): Promise<Response> {
  if (!request.body) return problem(400, "malformed", "the request has no body");
  const query = new URL(request.url).searchParams;
  const options = {
    ...(query.has("levels") ? { levels: Number(query.get("levels")) } : {}),
    ...(query.has("scale") ? { scale: query.get("scale") as CompressOptions["scale"] } : {}),
  } as CompressOptions;
  const job: Job = { name, upload: uploadPrefix(name) + crypto.randomUUID(), options };
  await request.body.pipeTo(r2Sink(env.BUCKET, job.upload));
  let queued = false;
  try {
    const size = (await env.BUCKET.head(job.upload))?.size ?? 0;
    if (env.JOBS && size > Number(env.INLINE_BYTES ?? 0)) {
      await env.JOBS.send(job);
      queued = true;
      return Response.json({ pending: true }, { status: 202, headers: { location: `/models/${name}` } });
    }
    const { tensors: _, ...report } = await shrink(env, job);
    return Response.json(report, { status: 201, headers: { location: `/models/${name}` } });
  } finally {
    if (!queued) await env.BUCKET.delete(job.upload);
  }
}

/** The compressed model appears under its name when it is whole. */
async function shrink({ BUCKET }: Env, { name, upload, options }: Job): Promise<Awaited<ReturnType<typeof compress>>> {
  const object = await BUCKET.head(upload);
  if (!object) throw new WlqError("not-found", `the upload of "${name}" is gone`);
  const sink = r2Sink(BUCKET, modelKey(name), { httpMetadata: { contentType: "application/octet-stream" } });
  const report = await compress(r2Source(BUCKET, object), sink, { ...options, formats: [onnx()] });
  await BUCKET.delete(failureKey(name));
  return report;
}

/** The compressed model; ranges and conditions are R2's to answer, so `httpSource` reads single tensors from here, too. */
async function getModel(request: Request, { BUCKET }: Env, name: string): Promise<Response> {
  const object = await BUCKET.get(modelKey(name), { range: request.headers, onlyIf: request.headers });
  if (!object) {
    const { objects } = await BUCKET.list({ prefix: uploadPrefix(name), limit: 1 });
    if (objects.length > 0) return Response.json({ pending: true }, { status: 202 });
    const failure = await BUCKET.get(failureKey(name));
    if (failure) return new Response(failure.body, { status: 422, headers: { "content-type": "application/json" } });
    return problem(404, "not-found", `there is no model "${name}"`);
  }
  const headers = new Headers({ etag: object.httpEtag, "accept-ranges": "bytes" });
  object.writeHttpMetadata(headers);
  if (!("body" in object)) return new Response(null, { status: 304, headers });
  if (!request.headers.has("range")) return new Response(object.body, { headers });
  const { offset = 0, length = object.size } = object.range as { offset?: number; length?: number };
  headers.set("content-range", `bytes ${offset}-${offset + length - 1}/${object.size}`);
  return new Response(object.body, { status: 206, headers });
}

/** The list of tensors, or one of them: its elements as they lie in memory, decoded piece by piece. */
async function getTensor({ BUCKET }: Env, name: string, tensor: string | undefined): Promise<Response> {
  const object = await BUCKET.head(modelKey(name));
  if (!object) return problem(404, "not-found", `there is no model "${name}"`);
  const source = r2Source(BUCKET, object);
  if (!tensor) {
    const model = await open(source);
    return Response.json(model.names.map((name) => model.info(name)));
  }
  const { dtype, shape, byteLength, body } = await tensorStream(source, tensor);
  // a length makes a client notice a stream that broke off
  return new Response(body.pipeThrough(new FixedLengthStream(byteLength)), {
    headers: { "content-type": "application/octet-stream", "x-dtype": dtype, "x-shape": shape.join() },
  });
}

/** What is the client's fault: a code that says what is wrong with the file, or an option that does not exist. */
function isBadInput(error: unknown): error is Error {
  if (error instanceof WlqError) return !["io", "resources", "aborted", "not-ready"].includes(error.code);
  return error instanceof RangeError;
}

function refusal(error: unknown): Response {
  const code = error instanceof WlqError ? error.code : "option";
  if (isBadInput(error))
    return problem(code === "not-found" ? 404 : code === "option" ? 400 : 422, code, error.message);
  console.error(error);
  return problem(500, "internal", "the model could not be processed");
}

function problem(status: number, code: string, message: string): Response {
  return Response.json({ code, message }, { status });
}
