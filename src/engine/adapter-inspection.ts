// What an adapter offers, and how much of its memory it really grants.
import type { AdapterInspection, Host } from "../engine.ts";
import { type Gpu, type GpuOptions, openGpu, OutOfMemoryError } from "../gpu/device.ts";

export function inspectAdapter(gpu: Gpu, adapter: GPUAdapter): AdapterInspection {
  const { info, device, name, hasF16 } = gpu;
  const { vendor, architecture, isFallbackAdapter: isFallback } = info;
  return {
    name,
    vendor,
    architecture,
    isFallback,
    hasF16,
    hasSubgroups: adapter.features.has("subgroups"),
    maxBufferBytes: device.limits.maxBufferSize,
    maxBindingBytes: device.limits.maxStorageBufferBindingSize,
  };
}

/** Small enough to tell a limit well, large enough to reach it soon. */
const PROBE_BYTES = 256 * 2 ** 20;

/** Bytes that a device of its own is granted, up to `limitBytes`. All of them are given back. */
export async function probeMemory(
  host: Host,
  options: GpuOptions,
  limitBytes: number,
): Promise<number> {
  const gpu = await openGpu(await host.requestAdapter(), options);
  const step = Math.min(PROBE_BYTES, gpu.device.limits.maxBufferSize);
  const buffers: GPUBuffer[] = [];
  let granted = 0;
  try {
    while (granted < limitBytes && !gpu.isLost) {
      // Sizes of buffers are multiples of 4.
      const bytes = Math.ceil(Math.min(step, limitBytes - granted) / 4) * 4;
      buffers.push(gpu.buffer(`probe.${buffers.length}`, bytes));
      await gpu.check();
      granted = Math.min(granted + bytes, limitBytes);
    }
  } catch (error) {
    // A refusal is the answer; so is a driver that gives the device up over it.
    if (!(error instanceof OutOfMemoryError) && !gpu.isLost) throw error;
  } finally {
    for (const buffer of buffers) gpu.freeBuffer(buffer);
    gpu.close();
  }
  return granted;
}
