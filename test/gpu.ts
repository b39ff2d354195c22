// The adapter all GPU tests share. No adapter at all is a failure, never a skip.
import { afterAll } from "vitest";
import type { Host } from "../src/engine.ts";
import { decodeF16, encodeF16 } from "../src/formats/float.ts";
import { type Gpu, type GpuOptions, openGpu } from "../src/gpu/device.ts";
import { Recorder } from "../src/gpu/program.ts";
import { StepScalars, type StepValues } from "../src/gpu/step-scalars.ts";
import { elementCount, read, type StoredTensor, write } from "../src/gpu/tensor.ts";
import { Workspace } from "../src/gpu/workspace.ts";
import { nodeHost } from "../src/hosts/node.ts";
import { type AdapterChoice, findAdapter } from "../src/hosts/node-gpu.ts";

// HONE_ADAPTER=llvmpipe runs the same suite on Mesa's driver.
const choice = (process.env["HONE_ADAPTER"] ?? "swiftshader") as AdapterChoice;

/** Opens a device on the adapter under test, closed when the test file ends. */
export async function testGpu(options: GpuOptions = {}): Promise<Gpu> {
  const { adapter } = await findAdapter(choice);
  const gpu = await openGpu(adapter, options);
  afterAll(() => gpu.close());
  return gpu;
}

/** The null backend: checks every shader and counts every call, computes nothing. */
export async function nullGpu(options: GpuOptions = {}): Promise<Gpu> {
  const { adapter } = await findAdapter("null");
  const gpu = await openGpu(adapter, options);
  afterAll(() => gpu.close());
  return gpu;
}

/** The null backend, of which all that is read is zero: whole runs go through on it, and take the memory they take. */
export async function zeroGpu(options: GpuOptions = {}): Promise<Gpu> {
  const gpu = await nullGpu(options);
  readZero(gpu.device);
  return gpu;
}

/** Node's host on such a backend, for tests of the engine that no number of a GPU matters to. */
export function zeroHost(): Host {
  const host = nodeHost({ adapter: "null" });
  return {
    ...host,
    async requestAdapter() {
      const adapter = await host.requestAdapter();
      const request = adapter.requestDevice.bind(adapter);
      const requestDevice = async (descriptor: GPUDeviceDescriptor) =>
        readZero(await request(descriptor));
      return Object.assign(adapter, { requestDevice });
    },
  };
}

function readZero(device: GPUDevice): GPUDevice {
  const create = device.createBuffer.bind(device);
  return Object.assign(device, {
    createBuffer(descriptor: GPUBufferDescriptor) {
      const buffer = create(descriptor);
      // The backend carries out no copy into these, and leaves them as the host's memory was.
      const isRead = descriptor.usage === (GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST);
      if (isRead) device.queue.writeBuffer(buffer, 0, new Uint8Array(descriptor.size));
      return buffer;
    },
  });
}

/** Records what `record` says, runs it once, and waits. */
export async function runOnce(
  gpu: Gpu,
  record: (recorder: Recorder) => void,
  step: StepValues = {},
): Promise<void> {
  const workspace = new Workspace(gpu);
  const scalars = new StepScalars(gpu);
  scalars.set(step);
  const recorder = new Recorder(gpu, "test", workspace, scalars);
  record(recorder);
  const program = await recorder.build();
  program.run();
  await gpu.finish();
  program.free();
  scalars.free();
  workspace.free();
}

/** A stored f32 tensor with the given elements. */
export function uploadF32(
  gpu: Gpu,
  label: string,
  shape: readonly number[],
  data: ArrayLike<number>,
): StoredTensor {
  const tensor = gpu.allocate(label, "f32", shape);
  write(gpu, tensor, Float32Array.from(data));
  return tensor;
}

/** The types activations can have on `gpu`: f32, and f16 where it is there. */
export function activationTypes(gpu: Gpu): readonly ActivationType[] {
  // The only place where f16 is tested: if it vanished there, every f16 case would with it.
  const expectsF16 = choice === "llvmpipe" && gpu.device.label !== "hone.baseline";
  if (expectsF16 && !gpu.hasF16) throw new Error("llvmpipe offers no shader-f16");
  return gpu.hasF16 ? ["f32", "f16"] : ["f32"];
}

export type ActivationType = "f32" | "f16";

/** `data` as `dtype` holds it: what a reference must start from. */
export function roundTo(dtype: ActivationType, data: Float32Array): Float32Array {
  return dtype === "f32" ? data : decodeF16(encodeF16(data));
}

/** A stored tensor of `dtype` with the given elements, rounded. */
export function uploadActivation(
  gpu: Gpu,
  label: string,
  shape: readonly number[],
  data: Float32Array,
  dtype: ActivationType,
): StoredTensor {
  const tensor = gpu.allocate(label, dtype, shape);
  write(gpu, tensor, dtype === "f32" ? Float32Array.from(data) : encodeF16(data));
  return tensor;
}

export function uploadU32(
  gpu: Gpu,
  label: string,
  shape: readonly number[],
  data: ArrayLike<number>,
): StoredTensor {
  const tensor = gpu.allocate(label, "u32", shape);
  write(gpu, tensor, Uint32Array.from(data));
  return tensor;
}

// Elements after an output that no kernel may touch. 64 floats are 256 bytes.
const GUARD_ELEMENTS = 64;
const GUARD = 12345.678;

/**
 * An output to judge a kernel by: poisoned with NaN, so that what is not written is seen, and
 * followed by a guard band in the same buffer, so that what is written too far is seen.
 */
export function poisoned(
  gpu: Gpu,
  label: string,
  shape: readonly number[],
  dtype: ActivationType = "f32",
): GuardedTensor {
  return guarded(gpu, label, shape, new Float32Array(elementCount(shape)).fill(Number.NaN), dtype);
}

/** An output that a kernel changes in place: holds `data`, followed by a guard band. */
export function guarded(
  gpu: Gpu,
  label: string,
  shape: readonly number[],
  data: Float32Array,
  dtype: ActivationType = "f32",
): GuardedTensor {
  const count = elementCount(shape);
  const whole = gpu.allocate(label, dtype, [count + GUARD_ELEMENTS]);
  const filled = new Float32Array(count + GUARD_ELEMENTS).fill(GUARD);
  filled.set(data);
  write(gpu, whole, dtype === "f32" ? filled : encodeF16(filled));
  const [guard = Number.NaN] = roundTo(dtype, Float32Array.of(GUARD));
  // The kernel is shown the guard band too: a write past the end must land where we can see it.
  const tensor: StoredTensor = { ...whole, shape };
  return {
    tensor,
    async read() {
      const bytes = await read(gpu, whole);
      const values = dtype === "f32" ? new Float32Array(bytes) : decodeF16(new Uint16Array(bytes));
      if (values.subarray(count, count + GUARD_ELEMENTS).some((value) => value !== guard)) {
        throw new Error(`${label}: the kernel wrote past the end of its output`);
      }
      return values.slice(0, count);
    },
  };
}

export interface GuardedTensor {
  readonly tensor: StoredTensor;
  /** The elements; throws if the guard band was touched. */
  read(): Promise<Float32Array>;
}

/** Uniform numbers in [−1, 1), the same for the same seed. */
export function randomF32(length: number, seed: number): Float32Array<ArrayBuffer> {
  let state = seed >>> 0;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/** The largest |actual − expected|, and NaN if any element is not a number. */
export function largestDifference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) {
    throw new Error(`lengths differ: ${actual.length} and ${expected.length}`);
  }
  let worst = 0;
  for (let i = 0; i < actual.length; i++) {
    const difference = Math.abs((actual[i] ?? Number.NaN) - (expected[i] ?? Number.NaN));
    if (Number.isNaN(difference)) return Number.NaN;
    worst = Math.max(worst, difference);
  }
  return worst;
}
