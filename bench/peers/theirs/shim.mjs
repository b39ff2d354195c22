// Makes Node look enough like a page for libraries that know WebGPU only from browsers: Dawn as
// `navigator.gpu`, on the adapter that the driver variables leave.
import { create, globals } from "webgpu";

Object.assign(globalThis, globals);
export const gpu = create([
  "enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia",
  "disable-dawn-features=timestamp_quantization",
]);
const navigatorLike = { gpu, userAgent: "Node", hardwareConcurrency: 1 };
Object.defineProperty(globalThis, "navigator", { value: navigatorLike, configurable: true });

/** The adapter's name as Hone writes it. */
export async function adapterName() {
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  const { description, device, vendor } = adapter.info;
  return description || `${vendor} ${device}`;
}
