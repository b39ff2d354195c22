// Reads a small tensor back every step without waiting: copies into a ring of staging buffers.
import { invariant } from "../base/error.ts";
import type { Gpu } from "./device.ts";
import { MAP_READ, USAGE } from "./flags.ts";
import type { StoredTensor } from "./tensor.ts";

export class ReportRing {
  readonly #gpu: Gpu;
  readonly #source: StoredTensor;
  readonly #staging: GPUBuffer[];
  readonly #isFree: boolean[];

  /** `slots` copies may be under way at a time. */
  constructor(gpu: Gpu, source: StoredTensor, slots: number) {
    this.#gpu = gpu;
    this.#source = source;
    this.#staging = Array.from({ length: slots }, (_, i) =>
      gpu.buffer(`${source.label}.ring.${i}`, source.bytes, USAGE.mapRead | USAGE.copyTarget),
    );
    this.#isFree = this.#staging.map(() => true);
  }

  /** Submits a copy of the tensor as it is after all work submitted so far; resolves with it later. */
  capture(): Promise<Float32Array<ArrayBuffer>> {
    const slot = this.#isFree.indexOf(true);
    const staging = this.#staging[slot];
    invariant(staging !== undefined, () => `${this.#source.label}: every ring slot is under way`);
    const { buffer, offset } = this.#source.at;
    const encoder = this.#gpu.device.createCommandEncoder({ label: "report" });
    encoder.copyBufferToBuffer(buffer, offset, staging, 0, this.#source.bytes);
    this.#gpu.device.queue.submit([encoder.finish()]);
    this.#isFree[slot] = false;
    return this.#read(staging, slot);
  }

  free(): void {
    for (const staging of this.#staging) this.#gpu.freeBuffer(staging);
  }

  async #read(staging: GPUBuffer, slot: number): Promise<Float32Array<ArrayBuffer>> {
    await this.#gpu.unlessLost(staging.mapAsync(MAP_READ));
    this.#gpu.checkErrors();
    const values = new Float32Array(staging.getMappedRange().slice(0));
    staging.unmap();
    this.#isFree[slot] = true;
    return values;
  }
}
