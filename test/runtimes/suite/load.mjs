// Load: the package's modules by their import paths, spelled out so that a bundler can follow.
const MODULES = {
  wlq: () => import("wlq"),
  "wlq/decoder": () => import("wlq/decoder"),
  "wlq/onnx": () => import("wlq/onnx"),
  "wlq/caffe": () => import("wlq/caffe"),
  "wlq/slq": () => import("wlq/slq"),
  "wlq/threads": () => import("wlq/threads"),
};

export const load = (name) => MODULES[name]();
