// A GPU that only counts: the code that allocates runs over it as it is, and takes what it will take.
//
// It has the limits and features of an adapter, and no device. Buffers are sizes without bytes, work is
// done as soon as it is submitted, and what is read back is empty.
import type { Choices } from "./choices.ts";
import { Gpu } from "./device.ts";

/** What decides how memory is laid out. A GPUAdapter is one. */
export interface AdapterLimits {
  readonly info: GPUAdapterInfo;
  readonly features: ReadonlySet<string>;
  readonly limits: Pick<GPUSupportedLimits, "maxBufferSize" | "maxStorageBufferBindingSize">;
  /** Variants of kernels may take memory of different sizes. */
  readonly choices?: Choices;
}

/** What of a GPU decides how memory is laid out, for another that only counts. */
export function limitsOf({ info, device, choices }: Gpu): AdapterLimits {
  return { info, features: device.features, limits: device.limits, choices };
}

/** A Gpu that allocates nothing; its `allocatedBytes` and `peakBytes` are what a real one's would be. */
export function countingGpu({ info, features, limits, choices = {} }: AdapterLimits): Gpu {
  // Only what src/gpu calls is there; a call of anything else fails at once.
  const device = {
    features,
    limits,
    lost: new Promise(() => {}),
    addEventListener: nothing,
    destroy: nothing,
    pushErrorScope: nothing,
    popErrorScope: () => Promise.resolve(null),
    createBuffer: ({ size }: GPUBufferDescriptor) => ({ size, destroy: nothing }),
    createShaderModule: empty,
    createPipelineLayout: empty,
    createBindGroupLayout: empty,
    createBindGroup: empty,
    createComputePipelineAsync: () => Promise.resolve({}),
    createCommandEncoder: () => encoder,
    queue: { writeBuffer: nothing, submit: nothing, onSubmittedWorkDone: () => Promise.resolve() },
  };
  const gpu = new Gpu(device as unknown as GPUDevice, info, { onlyCounts: true });
  gpu.choices = choices;
  return gpu;
}

function nothing(): void {}

function empty(): object {
  return {};
}

const pass = {
  setPipeline: nothing,
  setBindGroup: nothing,
  dispatchWorkgroups: nothing,
  end: nothing,
};
const encoder = { beginComputePass: () => pass, copyBufferToBuffer: nothing, finish: empty };
