// WlqError: everything that bad data or a refusing environment can cause, with a code to branch on.

/**
 * Why an operation was refused.
 *
 * - `truncated` fewer bytes than the file itself says · `malformed` the bytes contradict themselves or the format
 * - `unsupported` valid, but not something wlq can do · `limit` larger than a documented limit
 * - `checksum` the payload changed after it was written · `non-finite` NaN or infinity among the weights
 * - `moved` a frozen weight was changed
 * - `already-compressed` the input is a wlq container · `not-found` no such tensor or file
 * - `unsafe-path` a companion file name leaves the model's folder · `io` the source or sink failed
 * - `resources` memory or disk ran out · `aborted` the caller's signal · `not-ready` synchronous use before init()
 */
export type WlqErrorCode =
  | "truncated"
  | "malformed"
  | "unsupported"
  | "limit"
  | "checksum"
  | "non-finite"
  | "moved"
  | "already-compressed"
  | "not-found"
  | "unsafe-path"
  | "io"
  | "resources"
  | "aborted"
  | "not-ready";

/** Bad data or a refusing environment. The message names the tensor and both sides of the contradiction. */
export class WlqError extends Error {
  override readonly name = "WlqError";
  /** What kind of trouble it is, for programs. */
  declare readonly code: WlqErrorCode;
  /** The tensor concerned, where there is one. */
  declare readonly tensor: string | undefined;

  constructor(code: WlqErrorCode, message: string, options?: { tensor?: string | undefined; cause?: unknown }) {
    super(message, options);
    this.code = code;
    this.tensor = options?.tensor;
  }
}

/** `malformed`, with the tensor's name in front where there is one. */
export function malformed(tensor: string | undefined, message: string): WlqError {
  return new WlqError("malformed", tensor === undefined ? message : `tensor "${tensor}": ${message}`, { tensor });
}
