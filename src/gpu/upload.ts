// The way of files to the GPU: memory that both see. What is read into it is not copied again on the host.
//
// A few slots take turns. One is free again when the GPU has what was in it; that alone holds the host
// back, so it never waits while a slot is free and never gets further ahead than the slots reach.
import { invariant } from "../base/error.ts";
import type { Gpu } from "./device.ts";
import { MAP_WRITE, USAGE } from "./flags.ts";
import type { StoredTensor } from "./tensor.ts";

/** One is read into, one waits its turn, the GPU copies one. */
export const UPLOAD_SLOTS = 3;

/** A place for bytes on their way up. */
export interface UploadSlot {
  /** As many bytes as were asked for; none on a GPU that only counts. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Puts `data` there, unless it was read there already. */
  fill(data: Uint8Array<ArrayBuffer>): void;
  /** Queues a copy of all of it to byte `offset` of `tensor`, and gives the slot back. */
  send(tensor: StoredTensor, offset: number): void;
}

interface Place {
  buffer: GPUBuffer | undefined;
  /** Settles when nobody has it. */
  free: Promise<void>;
}

export class UploadRing {
  readonly #gpu: Gpu;
  readonly #label: string;
  readonly #places: Place[] = Array.from({ length: UPLOAD_SLOTS }, () => ({
    buffer: undefined,
    free: Promise.resolve(),
  }));
  /** The most that was asked for yet: what is made is made as large. */
  #slotBytes = 0;
  #taken = 0;
  /** What to call of those who wait for a slot when there will be none. */
  readonly #waiting = new Set<(error: Error) => void>();
  #isStopped = false;

  /** Allocates nothing: slots are made when they are first taken. */
  constructor(gpu: Gpu, label: string) {
    this.#gpu = gpu;
    this.#label = label;
  }

  /**
   * A slot for `count` bytes, as soon as one is free: in the order of the calls. What goes wrong with a place is
   * told to all who take it after.
   */
  async take(count: number): Promise<UploadSlot> {
    const place = this.#places[this.#taken++ % UPLOAD_SLOTS];
    invariant(place !== undefined, () => `${this.#label}: no slot`);
    const before = place.free;
    const { promise, resolve, reject } = settleable();
    place.free = promise;
    const size = wholeWords(count);
    let buffer: GPUBuffer;
    try {
      await this.#unlessStopped(before);
      buffer = await this.#mapped(place, size);
    } catch (error) {
      reject(error); // or whoever takes this place next would wait for ever
      throw error;
    }
    const bytes = this.#gpu.onlyCounts
      ? new Uint8Array(0)
      : new Uint8Array(buffer.getMappedRange(0, size)).fill(0, count).subarray(0, count);
    return {
      bytes,
      fill: (data) => {
        if (data.buffer !== bytes.buffer && !this.#gpu.onlyCounts) bytes.set(data);
      },
      send: (tensor, offset) => {
        invariant(
          offset + size <= tensor.bytes,
          () => `${tensor.label} holds ${tensor.bytes} bytes; got ${size} at ${offset}`,
        );
        if (this.#gpu.onlyCounts) resolve();
        else this.#send(buffer, size, tensor, offset).then(resolve, reject);
      },
    };
  }

  /** No slot is given any more, and who waits for one is told. What is being read must end before `free`. */
  stop(): void {
    this.#isStopped = true;
    for (const reject of this.#waiting) reject(stopped());
  }

  /** Frees the slots. Nothing may be reading into one. */
  free(): void {
    this.stop();
    for (const place of this.#places) {
      if (place.buffer) this.#gpu.freeBuffer(place.buffer);
      place.buffer = undefined;
    }
  }

  /** The place's buffer, mapped, made or made larger if need be. None is kept that could not be mapped. */
  async #mapped(place: Place, size: number): Promise<GPUBuffer> {
    if (place.buffer && place.buffer.size >= size) return place.buffer;
    if (place.buffer) this.#gpu.freeBuffer(place.buffer);
    place.buffer = undefined;
    this.#slotBytes = Math.max(this.#slotBytes, size);
    const usage = USAGE.mapWrite | USAGE.copySource;
    const buffer = this.#gpu.buffer(`${this.#label}.upload`, this.#slotBytes, usage);
    place.buffer = buffer;
    if (this.#gpu.onlyCounts) return buffer;
    try {
      await this.#map(buffer);
    } catch (error) {
      // Nobody else has it; but `free` may have had it meanwhile.
      if (place.buffer === buffer) {
        this.#gpu.freeBuffer(buffer);
        place.buffer = undefined;
      }
      throw error;
    }
    return buffer;
  }

  async #map(buffer: GPUBuffer): Promise<void> {
    try {
      await this.#gpu.unlessLost(buffer.mapAsync(MAP_WRITE));
    } catch (error) {
      await this.#gpu.check(); // says more, where memory was out
      throw error;
    }
  }

  async #send(
    buffer: GPUBuffer,
    size: number,
    { label, at }: StoredTensor,
    offset: number,
  ): Promise<void> {
    const { device } = this.#gpu;
    buffer.unmap();
    const encoder = device.createCommandEncoder({ label: `${label}.upload` });
    encoder.copyBufferToBuffer(buffer, 0, at.buffer, at.offset + offset, size);
    device.queue.submit([encoder.finish()]);
    await this.#map(buffer);
  }

  #unlessStopped(free: Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#isStopped) reject(stopped());
      this.#waiting.add(reject);
      free.then(resolve, reject).finally(() => this.#waiting.delete(reject));
    });
  }
}

interface Settleable {
  readonly promise: Promise<void>;
  resolve(this: void): void;
  reject(this: void, error: unknown): void;
}

function settleable(): Settleable {
  const settle: Partial<Settleable> = {};
  const promise = new Promise<void>((resolve, reject) =>
    Object.assign(settle, { resolve, reject }),
  );
  promise.catch(() => {}); // told to whoever takes the slot next, if anybody does
  return { ...(settle as Settleable), promise };
}

/** Copies are of whole words. */
function wholeWords(bytes: number): number {
  return Math.ceil(bytes / 4) * 4;
}

function stopped(): Error {
  return new Error("the upload was stopped");
}
