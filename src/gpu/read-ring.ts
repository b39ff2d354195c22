// Reads tensors of any size back while others are on their way: a few places take turns.
//
// What that takes of memory does not depend on how fast the GPU is, so it can be counted beforehand.
import { invariant } from "../base/error.ts";
import type { Gpu } from "./device.ts";
import { createStaging, readThrough, STAGING_BYTES, type StoredTensor } from "./tensor.ts";

interface Place {
  staging: GPUBuffer | undefined;
  /** Settles when nobody has it. */
  free: Promise<void>;
}

export class ReadRing {
  readonly #gpu: Gpu;
  readonly #label: string;
  readonly #places: readonly Place[];
  #taken = 0;

  /** Allocates nothing: a place is made, or made larger, when it is needed. `count` reads are under way at most. */
  constructor(gpu: Gpu, label: string, count: number) {
    this.#gpu = gpu;
    this.#label = label;
    this.#places = Array.from({ length: count }, () => ({
      staging: undefined,
      free: Promise.resolve(),
    }));
  }

  /** As `read` of tensor.ts, when the read before the last `count` has ended. */
  async read(tensor: StoredTensor, byteOffset: number, byteCount: number): Promise<ArrayBuffer> {
    const place = this.#places[this.#taken++ % this.#places.length];
    invariant(place !== undefined, () => `${this.#label}: no place`);
    const reading = this.#readAt(place, tensor, byteOffset, byteCount);
    place.free = reading.then(ended, ended);
    return reading;
  }

  /** Frees the places. Nothing may be under way. */
  free(): void {
    for (const place of this.#places) {
      if (place.staging) this.#gpu.freeBuffer(place.staging);
      place.staging = undefined;
    }
  }

  async #readAt(
    place: Place,
    tensor: StoredTensor,
    byteOffset: number,
    byteCount: number,
  ): Promise<ArrayBuffer> {
    await place.free;
    if (!place.staging || place.staging.size < Math.min(byteCount, STAGING_BYTES)) {
      if (place.staging) this.#gpu.freeBuffer(place.staging);
      place.staging = createStaging(this.#gpu, this.#label, byteCount);
    }
    return readThrough(this.#gpu, tensor, place.staging, byteOffset, byteCount);
  }
}

function ended(): void {}
