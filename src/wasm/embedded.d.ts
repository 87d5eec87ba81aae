// An imported binary: compressed bytes as base64 where the build embeds it, a compiled module where the runtime imports it (workerd).
declare module "*.wasm.deflate" {
  const wasm: string | WebAssembly.Module;
  export default wasm;
}
