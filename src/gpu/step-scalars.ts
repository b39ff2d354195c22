// The scalars that change between replays of a program; mirrors `Step` of shaders/lib/step.wgsl.
import type { Gpu } from "./device.ts";
import { USAGE } from "./flags.ts";

const FIELDS = {
  seed: "u32",
  step: "u32",
  micro: "u32",
  position: "u32",
  rows: "u32",
  topK: "u32",
  learningRate: "f32",
  lossWeight: "f32",
  temperature: "f32",
  topP: "f32",
  repetitionPenalty: "f32",
  adapterScale: "f32",
} as const;

export type StepValues = Partial<Record<keyof typeof FIELDS, number>>;

/** One small uniform buffer, bound by every kernel that reads the step's scalars. */
export class StepScalars {
  readonly buffer: GPUBuffer;
  readonly #gpu: Gpu;
  readonly #bytes = new DataView(new ArrayBuffer(Object.keys(FIELDS).length * 4));

  constructor(gpu: Gpu) {
    this.#gpu = gpu;
    this.buffer = gpu.buffer("step", this.#bytes.byteLength, USAGE.uniform | USAGE.copyTarget);
    this.set({ repetitionPenalty: 1, topP: 1, adapterScale: 1 });
  }

  /** Changes the named scalars for every run submitted from now on; the others keep their values. */
  set(values: StepValues): void {
    Object.entries(FIELDS).forEach(([name, type], index) => {
      const value = values[name as keyof typeof FIELDS];
      if (value === undefined) return;
      if (type === "u32") this.#bytes.setUint32(index * 4, value, true);
      else this.#bytes.setFloat32(index * 4, value, true);
    });
    this.#gpu.device.queue.writeBuffer(this.buffer, 0, new Uint8Array(this.#bytes.buffer));
  }

  free(): void {
    this.#gpu.freeBuffer(this.buffer);
  }
}
