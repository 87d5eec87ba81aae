// An imported binary: text where the build embeds it, a compiled module where the runtime imports it (workerd).
declare module "*.wasm.txt" {
  const wasm: string | WebAssembly.Module;
  export default wasm;
}
