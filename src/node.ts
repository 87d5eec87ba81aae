// wlq/node: sources and sinks on files. Node's modules are imported here and in the command line only.
import { randomBytes } from "node:crypto";
import { readSync } from "node:fs";
import { type FileHandle, open, realpath, rename, stat, unlink } from "node:fs/promises";
import { dirname, isAbsolute, join, relative, resolve as resolvePath, sep } from "node:path";
import { WlqError } from "./error.ts";
import type { RangeSource, Resolve } from "./io/source.ts";

/** A source that also has a file handle to close. */
export interface FileSource extends RangeSource {
  close(): Promise<void>;
}

/** Opens a file as a source. Throws `not-found` or `io`. */
export async function fileSource(path: string): Promise<FileSource> {
  const handle = await openFile(path);
  const info = await handle.stat();
  if (!info.isFile()) {
    await handle.close();
    throw new WlqError("io", `${path} is not a file`);
  }
  return {
    byteLength: info.size,
    // Deno numbers files thread by thread
    ...("Deno" in globalThis ? {} : { fd: handle.fd }),
    async slice(start, end) {
      const buffer = new ArrayBuffer(end - start);
      const { bytesRead } = await handle.read(new Uint8Array(buffer), 0, end - start, start);
      return bytesRead === end - start ? buffer : await readOn(handle, buffer, bytesRead, start);
    },
    readSync(target, start) {
      let count = 0;
      // handle.fd is -1 once it is closed, not another file's
      for (let n = -1; n !== 0 && count < target.length; count += n) {
        n = readSync(handle.fd, target, count, target.length - count, start + count);
      }
      return count;
    },
    close: () => handle.close(),
  };
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, "r");
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT") throw new WlqError("not-found", `there is no file ${path}`, { cause });
    throw new WlqError("io", `${path} cannot be read: ${message}`, { cause });
  }
}

// A read may give less than was asked for (2 GiB at most on Linux); a short end is the caller's to notice.
async function readOn(handle: FileHandle, buffer: ArrayBuffer, done: number, start: number): Promise<ArrayBuffer> {
  let at = done;
  while (at < buffer.byteLength) {
    const { bytesRead } = await handle.read(new Uint8Array(buffer), at, buffer.byteLength - at, start + at);
    if (bytesRead === 0) return buffer.slice(0, at);
    at += bytesRead;
  }
  return buffer;
}

/**
 * A sink that writes to a temporary file beside `path` and takes the name when all is written and synced. Aborting
 * removes the temporary file; an existing file under the name stays until then.
 */
export function fileSink(path: string): WritableStream<Uint8Array> {
  const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`;
  let handle: FileHandle | undefined;
  const discard = async (): Promise<void> => {
    await handle?.close().catch(() => {});
    handle = undefined;
    await unlink(temporary).catch(() => {});
  };
  return new WritableStream<Uint8Array>(
    {
      async write(chunk) {
        try {
          handle ??= await open(temporary, "wx");
          for (let at = 0; at < chunk.length; ) {
            const { bytesWritten } = await handle.write(chunk, at);
            at += bytesWritten;
          }
        } catch (error) {
          await discard();
          throw error;
        }
      },
      async close() {
        try {
          handle ??= await open(temporary, "wx");
          await handle.sync();
          await handle.close();
          handle = undefined;
          await rename(temporary, path);
        } catch (error) {
          await discard();
          throw error;
        }
      },
      abort: discard,
    },
    { highWaterMark: 2 },
  );
}

/** Finds companion files beside a model, never outside its folder, links included. Close the sources it gave with `closeAll`. */
export function folderResolver(modelPath: string): { resolve: Resolve; closeAll(): Promise<void> } {
  const opened: FileSource[] = [];
  return {
    async resolve(name) {
      const folder = await realpath(dirname(resolvePath(modelPath)));
      const wanted = join(folder, name);
      if (isAbsolute(name) || outside(folder, wanted)) throw unsafe(name);
      const info = await stat(wanted).catch(() => undefined);
      if (!info) throw new WlqError("not-found", `the companion file "${name}" is not beside the model in ${folder}`);
      // a pipe would be waited for when it is opened
      if (!info.isFile()) throw new WlqError("io", `the companion file "${name}" is not a file`);
      const real = await realpath(wanted);
      if (outside(folder, real)) throw unsafe(name);
      const source = await fileSource(real);
      opened.push(source);
      return source;
    },
    async closeAll() {
      await Promise.all(opened.splice(0).map((s) => s.close()));
    },
  };
}

function outside(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way === ".." || way.startsWith(`..${sep}`) || isAbsolute(way);
}

function unsafe(name: string): WlqError {
  return new WlqError("unsafe-path", `the companion file name "${name}" leads out of the model's folder`);
}
