// Hone's side of the comparisons of single products: a chain of products with one square weight, each
// fed by the one before, recorded as a program.
import { encodeF16, decodeF16 } from "../../../src/formats/float.ts";
import type { Gpu } from "../../../src/gpu/device.ts";
import { type Program, Recorder } from "../../../src/gpu/program.ts";
import { StepScalars } from "../../../src/gpu/step-scalars.ts";
import { read, type StoredTensor, write } from "../../../src/gpu/tensor.ts";
import { Workspace } from "../../../src/gpu/workspace.ts";
import { matmulBackward, matmulForward } from "../../../src/kernels/matmul.ts";
import type { TrialSizes } from "../../../src/kernels/tunable.ts";
import { nf4Gemv } from "../../../src/kernels/nf4-gemv.ts";
import { recordLinear } from "../../../src/model/linear.ts";
import { type Taken, timed } from "../measure.ts";

export type ProductType = "f32" | "f16";

/** An NF4 matrix as bitsandbytes packs it, which is as Hone and ONNX Runtime read it. */
export interface Nf4Matrix {
  readonly codes: Uint8Array<ArrayBuffer>;
  readonly absmax: Float32Array<ArrayBuffer>;
}

export interface ProductTask {
  /** "gradient": forward through the chain and back to the gradient of x. */
  readonly kind: "forward" | "backward" | "gradient";
  readonly type: ProductType;
  readonly rows: number;
  /** Inputs and outputs of the weight. */
  readonly size: number;
  readonly repeats: number;
  /** [rows, size]: x, or dy where the chain is walked backward. */
  readonly x: Float32Array<ArrayBuffer>;
  /** [rows, size]: of the result of "gradient". */
  readonly dy?: Float32Array<ArrayBuffer>;
  /** Row-major [outputs, inputs], or as NF4. */
  readonly weight: Float32Array<ArrayBuffer> | Nf4Matrix;
}

/** Of the model that has such products. */
export function productSizes({ rows, size, type }: ProductTask): TrialSizes {
  const heads = size / 64;
  const attention = { heads, kvHeads: heads, headSize: 64 };
  return { hidden: size, intermediate: size, ...attention, rank: 0, tokens: rows, act: type };
}

/** A recorded chain. A run uploads x, computes, and reads the result back, as a run of the peers' does. */
export class OurProducts {
  readonly #gpu: Gpu;
  readonly #task: ProductTask;
  readonly #tensors: StoredTensor[] = [];
  readonly #workspace: Workspace;
  readonly #step: StepScalars;
  #program: Program | undefined;
  #input: StoredTensor | undefined;
  #output: StoredTensor | undefined;
  #last = new ArrayBuffer(0);

  private constructor(gpu: Gpu, task: ProductTask) {
    this.#gpu = gpu;
    this.#task = task;
    this.#workspace = new Workspace(gpu);
    this.#step = new StepScalars(gpu);
  }

  static async create(gpu: Gpu, task: ProductTask): Promise<OurProducts> {
    const made = new OurProducts(gpu, task);
    await made.#record();
    return made;
  }

  run(): Promise<Taken> {
    const { x, type, rows, size } = this.#task;
    const data = type === "f16" ? encodeF16(x) : x;
    const bytes = rows * size * (type === "f16" ? 2 : 4);
    return timed(async () => {
      if (this.#input) write(this.#gpu, this.#input, data);
      this.#program?.run();
      if (this.#output) this.#last = await read(this.#gpu, this.#output, 0, bytes);
    });
  }

  /** Of the last run. */
  result(): Float32Array {
    return this.#task.type === "f16"
      ? decodeF16(new Uint16Array(this.#last))
      : new Float32Array(this.#last);
  }

  free(): void {
    this.#program?.free();
    this.#workspace.free();
    this.#step.free();
    for (const tensor of this.#tensors) this.#gpu.free(tensor);
  }

  async #record(): Promise<void> {
    const { kind, repeats, dy } = this.#task;
    const recorder = new Recorder(this.#gpu, "products", this.#workspace, this.#step);
    const input = this.#values("x", this.#task.x);
    this.#input = input;
    const product = this.#product(recorder);
    let x = input;
    const two = [this.#values("first"), this.#values("second")] as const;
    const walk = (direction: "forward" | "backward") => {
      for (let i = 0; i < repeats; i++) {
        const y = two[x === two[0] ? 1 : 0];
        product[direction](x, y);
        x = y;
      }
    };
    walk(kind === "backward" ? "backward" : "forward");
    if (kind === "gradient") {
      x = this.#values("dy", dy);
      walk("backward");
    }
    this.#output = x;
    this.#program = await recorder.build();
  }

  #product(recorder: Recorder) {
    const { weight, type, rows, size } = this.#task;
    const shape = [size, size] as const;
    if (!("codes" in weight)) {
      const tensor = this.#gpu.allocate("weight", type, shape);
      this.#tensors.push(tensor);
      write(this.#gpu, tensor, type === "f16" ? encodeF16(weight) : weight);
      const plain = { tensor, shape, kind: "native" } as const;
      return {
        forward: (x: StoredTensor, y: StoredTensor) =>
          matmulForward(recorder, { x, weight: plain, y }),
        backward: (dy: StoredTensor, dx: StoredTensor) =>
          matmulBackward(recorder, { dy, weight: plain, dx }),
      };
    }
    const codes = this.#gpu.allocate("codes", "u32", [(size * size) / 8]);
    const absmax = this.#gpu.allocate("absmax", "f32", [(size * size) / 64]);
    this.#tensors.push(codes, absmax);
    write(this.#gpu, codes, weight.codes);
    write(this.#gpu, absmax, weight.absmax);
    const nf4 = { codes, absmax, shape };
    const label = "product";
    const linear = {
      weight: nf4,
      bias: undefined,
      lora: undefined,
      shape: {
        label,
        inputs: size,
        outputs: size,
        segments: [{ path: label, rows: size }],
        hasBias: false,
        moduleId: 0,
      },
    };
    return {
      // A token at a time is generation's way, more rows are training's.
      forward: (x: StoredTensor, y: StoredTensor) =>
        rows === 1
          ? nf4Gemv(recorder, { x, weight: nf4, y })
          : void recordLinear({ recorder, act: type, dropout: 0 }, linear, { x, y }),
      backward: () => {
        throw new Error("internal: NF4 is compared forward alone");
      },
    };
  }

  /** A tensor of [rows, size], with numbers in it where they are given. */
  #values(label: string, data?: Float32Array<ArrayBuffer>): StoredTensor {
    const { rows, size, type } = this.#task;
    const tensor = this.#gpu.allocate(label, type, [rows, size]);
    this.#tensors.push(tensor);
    if (data) write(this.#gpu, tensor, type === "f16" ? encodeF16(data) : data);
    return tensor;
  }
}
