// A labeled, shaped piece of GPU memory, stored for good or placed by a program's memory plan.
import { invariant } from "../base/error.ts";
import type { Gpu } from "./device.ts";
import { MAP_READ, USAGE } from "./flags.ts";

/** Element types. `f16` is native where the device has shader-f16; packed kinds are `u32`. */
export type Dtype = "f32" | "f16" | "u32";

export interface Tensor {
  readonly label: string;
  readonly dtype: Dtype;
  /** Row-major; the last dimension is contiguous. */
  readonly shape: readonly number[];
  readonly bytes: number;
  /** Absent for a transient: the program that uses it decides where it lies, and only while it is needed. */
  readonly at?: { readonly buffer: GPUBuffer; readonly offset: number };
}

/** A tensor with a place of its own. Whoever called `gpu.allocate` frees it. */
export interface StoredTensor extends Tensor {
  readonly at: { readonly buffer: GPUBuffer; readonly offset: number };
}

const ELEMENT_BYTES: Readonly<Record<Dtype, number>> = { f32: 4, f16: 2, u32: 4 };

/** Bytes of a tensor, rounded up to 16 so that shaders may read it as vectors of four. */
export function byteLength(dtype: Dtype, shape: readonly number[]): number {
  return Math.max(16, Math.ceil((elementCount(shape) * ELEMENT_BYTES[dtype]) / 16) * 16);
}

export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Rows and columns of a matrix; a vector is one row. */
export function matrixShape(tensor: Tensor): [rows: number, columns: number] {
  const columns = tensor.shape.at(-1) ?? 1;
  return [elementCount(tensor.shape) / columns, columns];
}

/** Checks an operand of a kernel against the shape that another operand asks for. A vector is one row. */
export function requireShape(
  kernel: string,
  tensor: Tensor,
  dtype: Dtype,
  shape: readonly [rows: number, columns: number],
  { label }: Tensor,
): void {
  const [rows, columns] = matrixShape(tensor);
  invariant(
    tensor.dtype === dtype && rows === shape[0] && columns === shape[1],
    () =>
      `${kernel}: ${tensor.label} is ${tensor.dtype} [${rows}, ${columns}], ` +
      `but ${label} asks for ${dtype} [${shape.join(", ")}]`,
  );
}

/** A part of a stored tensor, starting at element `start`, which must lie on a multiple of 256 bytes. */
export function slice(
  tensor: StoredTensor,
  label: string,
  start: number,
  shape: readonly number[],
): StoredTensor {
  const offset = tensor.at.offset + start * ELEMENT_BYTES[tensor.dtype];
  const bytes = byteLength(tensor.dtype, shape);
  invariant(offset % 256 === 0, () => `${label} starts at byte ${offset}, no multiple of 256`);
  invariant(
    offset + bytes <= tensor.at.offset + tensor.bytes,
    () => `${label} ends at byte ${offset + bytes}, past the end of ${tensor.label}`,
  );
  return { label, dtype: tensor.dtype, shape, bytes, at: { buffer: tensor.at.buffer, offset } };
}

/** Writes `data` into `tensor`, from its start or from `byteOffset` within it. */
export function write(
  gpu: Gpu,
  tensor: StoredTensor,
  data: ArrayBufferView<ArrayBuffer>,
  byteOffset = 0,
): void {
  invariant(
    byteOffset + data.byteLength <= tensor.bytes,
    () => `${tensor.label} holds ${tensor.bytes} bytes; got ${data.byteLength} at ${byteOffset}`,
  );
  // dawn.node 0.6.2 rejects a DataView and misreads an offset in elements; bytes are safe everywhere.
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  gpu.device.queue.writeBuffer(tensor.at.buffer, tensor.at.offset + byteOffset, bytes);
}

/** The most that is read back at a time, so that reading takes little memory beside what is read. */
export const STAGING_BYTES = 16 * 2 ** 20;

/**
 * Reads bytes back, a piece at a time: nothing may write the tensor meanwhile. Waits for the GPU: never
 * inside a training step. On a GPU that only counts there are none.
 */
export async function read(
  gpu: Gpu,
  tensor: StoredTensor,
  byteOffset = 0,
  byteCount = tensor.bytes - byteOffset,
): Promise<ArrayBuffer> {
  const staging = createStaging(gpu, tensor.label, byteCount);
  try {
    return await readThrough(gpu, tensor, staging, byteOffset, byteCount);
  } finally {
    gpu.freeBuffer(staging);
  }
}

/** Memory that so many bytes can be read back through, if not all at a time. */
export function createStaging(gpu: Gpu, label: string, byteCount: number): GPUBuffer {
  const size = Math.ceil(Math.min(byteCount, STAGING_BYTES) / 4) * 4;
  return gpu.buffer(`${label}.read`, size, USAGE.mapRead | USAGE.copyTarget);
}

/** As `read`, through memory that is the caller's. */
export async function readThrough(
  gpu: Gpu,
  tensor: StoredTensor,
  staging: GPUBuffer,
  byteOffset: number,
  byteCount: number,
): Promise<ArrayBuffer> {
  if (gpu.onlyCounts) return new ArrayBuffer(0);
  const bytes = new Uint8Array(byteCount);
  for (let done = 0; done < byteCount; done += staging.size) {
    const count = Math.min(byteCount - done, staging.size);
    const from = tensor.at.offset + byteOffset + done;
    bytes.set(await readPiece(gpu, tensor, from, staging, count), done);
    staging.unmap();
  }
  return bytes.buffer;
}

/** `count` bytes from byte `from` of the tensor's buffer, as `staging` shows them until it is unmapped. */
async function readPiece(
  gpu: Gpu,
  { label, at }: StoredTensor,
  from: number,
  staging: GPUBuffer,
  count: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const size = Math.ceil(count / 4) * 4; // copies are of whole words
  const encoder = gpu.device.createCommandEncoder({ label: `${label}.read` });
  encoder.copyBufferToBuffer(at.buffer, from, staging, 0, size);
  gpu.device.queue.submit([encoder.finish()]);
  await gpu.unlessLost(staging.mapAsync(MAP_READ, 0, size));
  await gpu.check();
  return new Uint8Array(staging.getMappedRange(0, size), 0, count);
}

/** The elements of an f32 tensor. */
export async function readF32(gpu: Gpu, tensor: StoredTensor): Promise<Float32Array<ArrayBuffer>> {
  invariant(tensor.dtype === "f32", () => `${tensor.label} is ${tensor.dtype}, read as f32`);
  return new Float32Array(await read(gpu, tensor)).subarray(0, elementCount(tensor.shape));
}
