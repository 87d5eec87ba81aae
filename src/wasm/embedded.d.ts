// An imported binary: compressed bytes where the build embeds it, a compiled module where the runtime imports it (workerd).
declare module "*.wasm.deflate" {
  const wasm: Uint8Array<ArrayBuffer> | WebAssembly.Module;
  export default wasm;
}
