// B·A on the GPU, a chunk of rows at a time.
import type { AdapterTarget } from "../formats/peft.ts";
import type { Gpu } from "../gpu/device.ts";
import { Recorder } from "../gpu/program.ts";
import { StepScalars } from "../gpu/step-scalars.ts";
import { readF32, type StoredTensor, write } from "../gpu/tensor.ts";
import { Workspace } from "../gpu/workspace.ts";
import { dequantize } from "../kernels/dequantize.ts";
import { matmulBackward } from "../kernels/matmul.ts";
import { createNf4Quantizer } from "../kernels/nf4-quantize.ts";
import type { LoraMatrices } from "../model/adapter.ts";
import { type FloatTensor, readSlices } from "../model/files/checkpoint-files.ts";

/** A tensor rounded to NF4 and back. */
export interface RoundedTensor {
  /** f32 values of some rows. */
  rows(first: number, count: number): Promise<Float32Array<ArrayBuffer>>;
  free(): void;
}

export class DeltaMaker {
  readonly #gpu: Gpu;
  readonly #step: StepScalars;
  readonly #workspace: Workspace;

  constructor(gpu: Gpu) {
    this.#gpu = gpu;
    this.#step = new StepScalars(gpu);
    this.#workspace = new Workspace(gpu);
  }

  /** Rows [first, first + count) of B·A, unscaled, f32 [count, inputs]. */
  async delta(
    { a, b }: LoraMatrices,
    { rank }: AdapterTarget,
    first: number,
    count: number,
  ): Promise<Float32Array<ArrayBuffer>> {
    const inputs = a.length / rank;
    const rows = Float32Array.from(b.subarray(first * rank, (first + count) * rank));
    const gpu = this.#gpu;
    const dy = gpu.allocate("merge.b", "f32", [count, rank]);
    const weight = gpu.allocate("merge.a", "f32", [rank, inputs]);
    const dx = gpu.allocate("merge.delta", "f32", [count, inputs]);
    try {
      write(gpu, dy, rows);
      write(gpu, weight, Float32Array.from(a));
      await this.#run((recorder) => {
        const shape = [rank, inputs] as const;
        matmulBackward(recorder, { dy, weight: { tensor: weight, shape, kind: "native" }, dx });
      });
      return await readF32(gpu, dx);
    } finally {
      for (const tensor of [dy, weight, dx]) gpu.free(tensor);
    }
  }

  /** Rounds a whole tensor to NF4, as loading it for training does. */
  async quantize(source: FloatTensor, doubleQuant: boolean): Promise<RoundedTensor> {
    const gpu = this.#gpu;
    const { shape, dtype, name } = source;
    const [rows = 1, columns = 1] = shape;
    const quantizer = createNf4Quantizer(gpu, name, [rows, columns], { doubleQuant });
    try {
      if (source.nf4) {
        await quantizer.take(0, rows * columns, source.nf4);
      } else {
        const tensor = quantizer.begin(0, rows * columns, dtype);
        for await (const { bytes } of readSlices(source)) await tensor.push(bytes);
        await tensor.end();
      }
    } catch (error) {
      quantizer.abandon();
      throw error;
    }
    const weight = quantizer.finish();
    return {
      rows: async (first, count) => {
        const out: StoredTensor = gpu.allocate("merge.rounded", "f32", [count, columns]);
        try {
          await this.#run((recorder) => {
            const [start, size] = [first * columns, count * columns];
            dequantize(recorder, { weight, out, start, count: size });
          });
          return await readF32(gpu, out);
        } finally {
          gpu.free(out);
        }
      },
      free: () => {
        for (const { at } of [weight.codes, weight.absmax]) if (at) gpu.freeBuffer(at.buffer);
      },
    };
  }

  free(): void {
    this.#workspace.free();
    this.#step.free();
  }

  async #run(record: (recorder: Recorder) => void): Promise<void> {
    const recorder = new Recorder(this.#gpu, "merge", this.#workspace, this.#step);
    record(recorder);
    const program = await recorder.build();
    try {
      program.run();
      await this.#gpu.finish();
    } finally {
      program.free();
    }
  }
}
