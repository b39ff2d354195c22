// The LoRA adapter on the GPU: every A and B of the model in a few flat f32 buffers.
//
// The segments of a fused map share one A [segments · rank, inputs] and one B [outputs, rank]. A
// segment with a lower rank, or with none, is padded with zeros, and zeros stay zeros: where A and B are
// both zero so are both gradients, and AdamW leaves a parameter that is zero with zero gradient alone.
import { invariant } from "../base/error.ts";
import { createRandom } from "../base/random.ts";
import type { AdapterTarget } from "../formats/peft.ts";
import type { Gpu } from "../gpu/device.ts";
import { elementCount, readF32, slice, type StoredTensor, write } from "../gpu/tensor.ts";
import type { LinearShape } from "./linears.ts";

/** A fused map's part of the adapter. */
export interface LoraSlot {
  readonly shape: LinearShape;
  /** The highest rank among the segments, rounded up to a multiple of 4 for vector loads. */
  readonly rank: number;
  /** α/r (or α/√r) per segment; 0 where the adapter does not act. */
  readonly scales: readonly number[];
  readonly targets: readonly (AdapterTarget | undefined)[];
  /** A [segments · rank, inputs] and B [outputs, rank]. */
  readonly a: StoredTensor;
  readonly b: StoredTensor;
  /** Their gradients; absent where the adapter is only used. */
  readonly da?: StoredTensor;
  readonly db?: StoredTensor;
}

/** A flat range of parameters that one binding can show, with what the optimizer keeps for it. */
export interface Bank {
  readonly count: number;
  readonly parameters: StoredTensor;
  readonly training?: {
    readonly gradients: StoredTensor;
    readonly m: StoredTensor;
    readonly v: StoredTensor;
  };
}

/** A module that the adapter acts on, with its rank and scale. */
export type LoraTarget = AdapterTarget;

/** One module's matrices on the host, in PEFT's layout. */
export interface LoraMatrices {
  /** [rank, inputs] */
  readonly a: Float32Array;
  /** [outputs, rank] */
  readonly b: Float32Array;
}

/** Which of a bank's flat arrays: the parameters, their gradients or one of the optimizer's moments. */
export type BankPart = "parameters" | "gradients" | "m" | "v";

interface Place {
  readonly bank: number;
  readonly start: number;
}

// Tensors start on multiples of 256 bytes, as bindings must.
const ALIGNMENT_ELEMENTS = 64;

export class Adapter {
  readonly slots: ReadonlyMap<string, LoraSlot>;
  readonly banks: readonly Bank[];
  /** Numbers that are trained; padding does not count. */
  readonly parameterCount: number;
  readonly #gpu: Gpu;
  readonly #places: ReadonlyMap<string, { readonly a: Place; readonly b: Place }>;

  /** Lays out and allocates, zeroed. With `training`, gradients and moments too. */
  constructor(
    gpu: Gpu,
    linears: readonly LinearShape[],
    targets: readonly AdapterTarget[],
    training: boolean,
  ) {
    this.#gpu = gpu;
    const byPath = new Map(targets.map((target) => [target.path, target]));
    const adapted = linears.filter(({ segments }) => segments.some(({ path }) => byPath.has(path)));

    const layout = new BankLayout(gpu.maxTensorBytes / 4);
    const planned = adapted.map((shape) => {
      const own = shape.segments.map(({ path }) => byPath.get(path));
      const rank = Math.ceil(Math.max(...own.map((target) => target?.rank ?? 0)) / 4) * 4;
      const aShape = [shape.segments.length * rank, shape.inputs];
      const bShape = [shape.outputs, rank];
      const a = layout.take(elementCount(aShape));
      const b = layout.take(elementCount(bShape));
      return { shape, own, rank, aShape, bShape, a, b };
    });
    this.banks = layout.counts.map((count, index) => allocateBank(gpu, index, count, training));
    this.#places = new Map(planned.map(({ shape, a, b }) => [shape.label, { a, b }]));
    this.slots = new Map(
      planned.map(({ shape, own, rank, aShape, bShape, a, b }) => {
        const part = (name: string, of: BankPart) => ({
          a: this.#view(`${shape.label}.${name}A`, a, aShape, of),
          b: this.#view(`${shape.label}.${name}B`, b, bShape, of),
        });
        const parameters = part("", "parameters");
        const gradients = training ? part("d", "gradients") : undefined;
        const slot: LoraSlot = {
          shape,
          rank,
          scales: own.map((target) => target?.scaling ?? 0),
          targets: own,
          a: parameters.a,
          b: parameters.b,
          ...(gradients && { da: gradients.a, db: gradients.b }),
        };
        return [shape.label, slot];
      }),
    );
    this.parameterCount = [...this.slots.values()].reduce((sum, slot) => sum + countOf(slot), 0);
  }

  /** PEFT's first values: A uniform in ±1/√inputs (Kaiming with a = √5), B zero. */
  initialize(seed: number): void {
    const first = new Map<string, LoraMatrices>();
    for (const { shape, targets } of this.slots.values()) {
      shape.segments.forEach(({ path, rows }, index) => {
        const target = targets[index];
        if (!target) return;
        const random = createRandom(seed, 0x10_0000 + shape.moduleId + index);
        const bound = 1 / Math.sqrt(shape.inputs);
        const a = Float32Array.from(
          { length: target.rank * shape.inputs },
          () => (2 * random.next() - 1) * bound,
        );
        first.set(path, { a, b: new Float32Array(rows * target.rank) });
      });
    }
    this.write(first);
  }

  /** Puts matrices in place, by module path; every target must be there. */
  write(matrices: ReadonlyMap<string, LoraMatrices>, part: BankPart = "parameters"): void {
    for (const slot of this.slots.values()) {
      const { shape, rank, targets } = slot;
      const a = new Float32Array(elementCount(slot.a.shape));
      const b = new Float32Array(elementCount(slot.b.shape));
      let row = 0;
      shape.segments.forEach(({ path, rows }, segment) => {
        const target = targets[segment];
        if (target) {
          const given = matrices.get(path);
          invariant(given !== undefined, () => `no adapter matrices for ${path}`);
          a.set(given.a, segment * rank * shape.inputs);
          for (let r = 0; r < rows; r++) {
            b.set(given.b.subarray(r * target.rank, (r + 1) * target.rank), (row + r) * rank);
          }
        }
        row += rows;
      });
      const places = this.#placesOf(shape.label);
      this.#write(places.a, part, a);
      this.#write(places.b, part, b);
    }
  }

  /** Reads parameters or moments back, by module path. Waits for the GPU. */
  async read(part: BankPart = "parameters"): Promise<Map<string, LoraMatrices>> {
    const flat = await Promise.all(
      this.banks.map((bank) => readF32(this.#gpu, partOf(bank, part))),
    );
    const matrices = new Map<string, LoraMatrices>();
    for (const { shape, rank, targets } of this.slots.values()) {
      const places = this.#placesOf(shape.label);
      const allA = flat[places.a.bank]?.subarray(places.a.start);
      const allB = flat[places.b.bank]?.subarray(places.b.start);
      invariant(allA !== undefined && allB !== undefined, () => `${shape.label} has no bank`);
      let row = 0;
      shape.segments.forEach(({ path, rows }, segment) => {
        const target = targets[segment];
        if (target) {
          const start = segment * rank * shape.inputs;
          const a = allA.slice(start, start + target.rank * shape.inputs);
          const b = new Float32Array(rows * target.rank);
          for (let r = 0; r < rows; r++) {
            const from = (row + r) * rank;
            b.set(allB.subarray(from, from + target.rank), r * target.rank);
          }
          matrices.set(path, { a, b });
        }
        row += rows;
      });
    }
    return matrices;
  }

  free(): void {
    for (const { parameters, training } of this.banks) {
      this.#gpu.free(parameters);
      for (const tensor of Object.values(training ?? {})) this.#gpu.free(tensor);
    }
  }

  #placesOf(label: string): { a: Place; b: Place } {
    const places = this.#places.get(label);
    invariant(places !== undefined, () => `${label} is not adapted`);
    return places;
  }

  #view(
    label: string,
    { bank, start }: Place,
    shape: readonly number[],
    part: BankPart,
  ): StoredTensor {
    const found = this.banks[bank];
    invariant(found !== undefined, () => `${label} has no bank`);
    return slice(partOf(found, part), label, start, shape);
  }

  #write({ bank, start }: Place, part: BankPart, data: Float32Array<ArrayBuffer>): void {
    const found = this.banks[bank];
    invariant(found !== undefined, () => `no bank ${bank}`);
    write(this.#gpu, partOf(found, part), data, start * 4);
  }
}

/** Hands out ranges of banks, opening a new bank where the last has no room. */
class BankLayout {
  readonly counts: number[] = [];
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  take(count: number): Place {
    const padded = Math.ceil(count / ALIGNMENT_ELEMENTS) * ALIGNMENT_ELEMENTS;
    const last = this.counts.length - 1;
    const used = this.counts[last];
    if (used === undefined || used + padded > this.#limit) {
      return { bank: this.counts.push(padded) - 1, start: 0 };
    }
    this.counts[last] = used + padded;
    return { bank: last, start: used };
  }
}

function allocateBank(gpu: Gpu, index: number, count: number, training: boolean): Bank {
  const make = (name: string) => gpu.allocate(`adapter.${index}.${name}`, "f32", [count]);
  const parameters = make("parameters");
  if (!training) return { count, parameters };
  return {
    count,
    parameters,
    training: { gradients: make("gradients"), m: make("m"), v: make("v") },
  };
}

function partOf(bank: Bank, part: BankPart): StoredTensor {
  const tensor = part === "parameters" ? bank.parameters : bank.training?.[part];
  invariant(tensor !== undefined, () => `the adapter is not for training; it has no ${part}`);
  return tensor;
}

function countOf({ shape, targets }: LoraSlot): number {
  return shape.segments.reduce(
    (sum, { rows }, index) => sum + (targets[index]?.rank ?? 0) * (shape.inputs + rows),
    0,
  );
}
