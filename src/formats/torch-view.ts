// Numbers of a tensor out of the storage that it is a view of, in the order of the tensor's own elements.
import { invariant, UserError } from "../base/error.ts";
import { tensorBytes } from "./safetensors.ts";
import type { PickledTensor } from "./torch-pickle.ts";
import type { ReadRange } from "./zip-read.ts";

/** How much of a storage is in memory at a time, for a view whose elements are not side by side. */
const SPAN_LIMIT_BYTES = 2 ** 30;

/** Elements [start, end) of the flat tensor. `storageAt` is where its storage begins in the file. */
export async function readTensorRange(
  read: ReadRange,
  storageAt: number,
  tensor: PickledTensor,
  range: { readonly start: number; readonly end: number; readonly place: string },
): Promise<Uint8Array<ArrayBuffer>> {
  const { start, end, place } = range;
  const { dtype, offset, shape, strides, storage } = tensor;
  const size = tensorBytes(dtype, [1]);
  invariant(size !== undefined, () => `${dtype} is no whole number of bytes`);
  const first = offset * size + (storage.part?.first ?? 0) * partUnit(tensor, size);
  const at = (element: number) => storageAt + first + element * size;
  if (start >= end) return new Uint8Array(0);
  if (isContiguous(shape, strides)) return read(at(start), at(end));

  const [low, high] = spanOf(shape, strides, start, end);
  if ((high - low) * size > SPAN_LIMIT_BYTES) {
    throw new UserError(
      `${place}: the tensor is a view of ${(high - low) * size} bytes whose elements are not side by side; the limit is ${SPAN_LIMIT_BYTES}.`,
      "Save it again as .contiguous().",
    );
  }
  return gather(await read(at(low), at(high)), { shape, strides, size, start, end, low });
}

/** Bytes of what `part.first` counts. */
function partUnit({ storage }: PickledTensor, size: number): number {
  return storage.dtype ? size : 1;
}

/** Whether the elements lie side by side. Sizes of 1 have no say. */
function isContiguous(shape: readonly number[], strides: readonly number[]): boolean {
  let expected = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    const size = shape[i] ?? 0;
    if (size !== 1 && strides[i] !== expected) return false;
    expected *= size;
  }
  return true;
}

/** The first and one past the last place, from the tensor's own first, that rows of [start, end) touch. */
function spanOf(
  shape: readonly number[],
  strides: readonly number[],
  start: number,
  end: number,
): [low: number, high: number] {
  const [, ...rest] = shape;
  const rowElements = rest.reduce((product, size) => product * size, 1);
  const firstRow = Math.floor(start / rowElements);
  const lastRow = Math.ceil(end / rowElements) - 1;
  const step = strides[0] ?? 0;
  const row = rest.reduce((sum, size, i) => sum + (size - 1) * (strides[i + 1] ?? 0), 0);
  return [firstRow * step, lastRow * step + row + 1];
}

interface GatherParts {
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  /** Bytes of an element. */
  readonly size: number;
  readonly start: number;
  readonly end: number;
  /** The place of the first byte of the span. */
  readonly low: number;
}

function gather(
  span: Uint8Array,
  { shape, strides, size, start, end, low }: GatherParts,
): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array((end - start) * size);
  const index = indexOf(start, shape);
  let place = index.reduce((sum, at, i) => sum + at * (strides[i] ?? 0), 0) - low;
  for (let element = 0; element < end - start; element++) {
    for (let byte = 0; byte < size; byte++) {
      out[element * size + byte] = span[place * size + byte] ?? 0;
    }
    // As an odometer: the last index first, and a carry where it is full.
    for (let i = shape.length - 1; i >= 0; i--) {
      const next = (index[i] ?? 0) + 1;
      if (next < (shape[i] ?? 0)) {
        index[i] = next;
        place += strides[i] ?? 0;
        break;
      }
      place -= (next - 1) * (strides[i] ?? 0);
      index[i] = 0;
    }
  }
  return out;
}

/** The index of the flat element. */
function indexOf(element: number, shape: readonly number[]): number[] {
  let left = element;
  const index = shape.map(() => 0);
  for (let i = shape.length - 1; i >= 0; i--) {
    const size = shape[i] ?? 1;
    index[i] = left % size;
    left = Math.floor(left / size);
  }
  return index;
}
