// An imported .wasm: bytes where the build embeds it, a compiled module where the runtime imports it (workerd).
declare module "*.wasm" {
  const wasm: Uint8Array<ArrayBuffer> | WebAssembly.Module;
  export default wasm;
}
