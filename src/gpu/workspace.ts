// The arena of all programs of one model: they never run at the same time, so they share their slots.
import type { Gpu } from "./device.ts";

export class Workspace {
  readonly #gpu: Gpu;
  readonly #buffers: GPUBuffer[] = [];

  constructor(gpu: Gpu) {
    this.#gpu = gpu;
  }

  get bytes(): number {
    return this.#buffers.reduce((sum, { size }) => sum + size, 0);
  }

  /** A buffer of at least each size, all different. Those of earlier programs are used where they fit. */
  take(slotBytes: readonly number[]): GPUBuffer[] {
    const free = this.#buffers.toSorted((a, b) => a.size - b.size);
    const taken: GPUBuffer[] = [];
    const largestFirst = slotBytes
      .map((bytes, slot) => ({ bytes, slot }))
      .toSorted((a, b) => b.bytes - a.bytes);
    for (const { bytes, slot } of largestFirst) {
      const fit = free.findIndex(({ size }) => size >= bytes);
      const buffer = free.splice(fit, fit < 0 ? 0 : 1)[0] ?? this.#add(bytes);
      taken[slot] = buffer;
    }
    return taken;
  }

  free(): void {
    for (const buffer of this.#buffers.splice(0)) this.#gpu.freeBuffer(buffer);
  }

  #add(bytes: number): GPUBuffer {
    const buffer = this.#gpu.buffer(`workspace.${this.#buffers.length}`, bytes);
    this.#buffers.push(buffer);
    return buffer;
  }
}
