// What the browser's adapter offers, in words. Opens a device once, since an adapter alone proves little.
import { formatBytes } from "../base/format.ts";
import { browserHost } from "../hosts/browser.ts";

export interface GpuReport {
  readonly name: string;
  readonly facts: readonly { readonly name: string; readonly value: string }[];
}

/** Throws a UserError where there is no adapter. */
export async function inspectGpu(): Promise<GpuReport> {
  const adapter = await browserHost().requestAdapter();
  const { info, limits, features } = adapter;
  const device = await adapter.requestDevice({ label: "hone.inspect" });
  device.destroy();
  const name = info.description || [info.vendor, info.architecture, info.device].join(" ").trim();
  return {
    name: name || "The browser does not tell its name.",
    facts: [
      {
        name: "16-bit floats in shaders",
        value: features.has("shader-f16")
          ? "Yes. Activations take half the memory."
          : "No. Everything is computed in 32 bits, which is correct and takes more memory.",
      },
      { name: "Largest binding", value: formatBytes(limits.maxStorageBufferBindingSize) },
      { name: "Largest buffer", value: formatBytes(limits.maxBufferSize) },
    ],
  };
}
