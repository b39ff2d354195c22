// What an import of a shader's text means; Vite resolves `?raw` in the app, the CLI and the tests alike.
declare module "*.wgsl?raw" {
  const source: string;
  export default source;
}

/** Names the kernels of this build; from vite.config.ts. */
declare const KERNELS_BUILD: string;
