// Session: onnxruntime as far as it is needed here, given by whoever calls, and inputs to run it on.

/** A tensor of onnxruntime, as far as it is needed here. */
export interface OrtTensor {
  readonly type: string;
  readonly dims: readonly number[];
  readonly data: unknown;
  dispose?(): void;
}

/** The namespace of onnxruntime-web, -node or -react-native, as far as it is needed here. */
export interface Ort {
  readonly InferenceSession: {
    create(model: Uint8Array, options?: object): Promise<OrtSession>;
  };
}

/** A session of onnxruntime. */
export interface OrtSession {
  // biome-ignore lint/suspicious/noExplicitAny: each runtime has a tensor type of its own
  run(feeds: any, fetches: any): Promise<Readonly<Record<string, OrtTensor>>>;
  release(): Promise<void>;
}

/** Inputs of one run: onnxruntime tensors by name. */
export type Feeds = Readonly<Record<string, OrtTensor>>;

/** Runs to observe. A list or a function can be gone through again, so that the layers are observed a few at a time. */
export type FeedSource =
  | readonly Feeds[]
  | Iterable<Feeds>
  | AsyncIterable<Feeds>
  | (() => Iterable<Feeds> | AsyncIterable<Feeds>);

/** One Wasm thread's provider where there is one, errors alone in the log. */
export const SESSION: object = { executionProviders: ["wasm"], logSeverityLevel: 3 };

/** Whether a run is held out: evenly, never the first. */
export function isHeldOut(run: number, share: number): boolean {
  return Math.floor((run + 1) * share) > Math.floor(run * share);
}
