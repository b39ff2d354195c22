// Weights to NF4, a slice of a large tensor at a time, bit for bit as bitsandbytes does it.
//
// The codes and block scales are made on the GPU. The scales of scales (double quantization) are few, and
// are made here in f32: every step through Math.fround, because the format is defined by f32 operations.
import { invariant, UserError } from "../base/error.ts";
import type { Gpu } from "../gpu/device.ts";
import { foldGrid, type Shader, workgroups } from "../gpu/kernel.ts";
import { Recorder } from "../gpu/program.ts";
import { StepScalars } from "../gpu/step-scalars.ts";
import { read, type StoredTensor, type Tensor, write } from "../gpu/tensor.ts";
import { Workspace } from "../gpu/workspace.ts";
import gridLib from "../../shaders/lib/grid.wgsl?raw";
import nf4Lib from "../../shaders/lib/nf4.wgsl?raw";
import shader from "../../shaders/nf4-quantize.wgsl?raw";
import type { Nf4Weight } from "./dequantize.ts";
import { quadType, WIDEN_SOURCE, type WeightKind } from "./matmul.ts";

/** Weights that share one scale. */
const BLOCK = 64;

/** Scales that share one scale of scales. */
const NESTED_BLOCK = 256;

const bindings = { source: "read", codes: "read_write", absmax: "read_write" } as const;
const params = { first_block: "u32", count: "u32" } as const;

function shaderOf(kind: WeightKind): Shader<keyof typeof bindings, keyof typeof params> {
  return {
    label: kind === "native" ? "nf4-quantize" : `nf4-quantize-${kind}`,
    source: [gridLib, nf4Lib, WIDEN_SOURCE[kind], shader],
    bindings,
    params,
  };
}

const shaders: Readonly<Record<WeightKind, ReturnType<typeof shaderOf>>> = {
  native: shaderOf("native"),
  "packed-f16": shaderOf("packed-f16"),
  "packed-bf16": shaderOf("packed-bf16"),
};

export interface Nf4Quantize {
  /** Numbers as `kind` says. */
  readonly source: Tensor;
  readonly kind: WeightKind;
  /** How many numbers of `source`, a multiple of 4. */
  readonly count: number;
  /** u32, eight codes a word. */
  readonly codes: Tensor;
  /** f32, one a block. */
  readonly absmax: Tensor;
  /** Where in codes and absmax the slice begins, in blocks of 64. */
  readonly firstBlock: number;
}

/** Writes the codes and the block scales of a slice that begins with a whole block. */
export function nf4Quantize(recorder: Recorder, call: Nf4Quantize): void {
  const { source, kind, count, codes, absmax, firstBlock } = call;
  const blocks = Math.ceil(count / BLOCK);
  invariant(
    count % 4 === 0 && (firstBlock + blocks) * 4 <= absmax.bytes,
    () => `nf4Quantize: ${count} weights from block ${firstBlock} into ${absmax.label}`,
  );
  recorder.dispatch(shaders[kind], {
    entry: "quantize",
    types: { Quad: quadType({ tensor: source, kind }) },
    buffers: { source, codes, absmax },
    params: { first_block: firstBlock, count },
    grid: foldGrid(workgroups(blocks, 64)),
    flops: 40 * count,
  });
}

/** How the weights come, as safetensors names it. */
export type Nf4SourceDtype = "F32" | "F16" | "BF16";

const KINDS: Readonly<Record<Nf4SourceDtype, WeightKind>> = {
  F32: "native",
  F16: "packed-f16",
  BF16: "packed-bf16",
};

/** One tensor on its way into an NF4 weight, which may be made of several. */
export interface Nf4Part {
  /** Takes the next slice, little-endian; every slice but the last is a number of whole blocks. */
  push(bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** Quantizes the scales, which needs all of them. Throws if a weight is not finite. */
  end(): Promise<void>;
}

export interface Nf4Quantizer {
  /** Begins the tensor that fills [start, start + count) of the flat weight, on whole blocks. */
  begin(start: number, count: number, dtype: Nf4SourceDtype): Nf4Part;
  /** The weight, which the caller now owns. Every part must have ended. */
  finish(): Nf4Weight & { readonly codes: StoredTensor; readonly absmax: StoredTensor };
  /** Frees all of it, where the weight could not be finished. */
  abandon(): void;
}

export interface Nf4QuantizerOptions {
  /** Keep the scales in 8 bits, as bitsandbytes does with compress_statistics. True, if not given. */
  readonly doubleQuant?: boolean;
}

/** Allocates an NF4 weight of `shape`, to be filled tensor by tensor, slice by slice. */
export function createNf4Quantizer(
  gpu: Gpu,
  label: string,
  shape: readonly [outputs: number, inputs: number],
  { doubleQuant = true }: Nf4QuantizerOptions = {},
): Nf4Quantizer {
  const size = shape[0] * shape[1];
  const codes = gpu.allocate(`${label}.codes`, "u32", [Math.ceil(size / 8)]);
  const absmax = gpu.allocate(`${label}.absmax`, "f32", [Math.ceil(size / BLOCK)]);
  const slices = new SliceRunner(gpu, label);
  let ended = 0;
  return {
    begin(start, count, dtype) {
      invariant(
        start % BLOCK === 0 &&
          start + count <= size &&
          (count % BLOCK === 0 || start + count === size),
        () => `${label}: ${count} weights from ${start} of ${size} do not fill whole blocks`,
      );
      const kind = KINDS[dtype];
      let pushed = 0;
      return {
        async push(bytes) {
          const elements = bytes.byteLength / (dtype === "F32" ? 4 : 2);
          invariant(
            pushed % BLOCK === 0 && pushed + elements <= count,
            () => `${label}: ${elements} weights after ${pushed} of ${count}`,
          );
          const firstBlock = (start + pushed) / BLOCK;
          await slices.run(bytes, { kind, count: elements, codes, absmax, firstBlock });
          pushed += elements;
        },
        async end() {
          invariant(pushed === count, () => `${label}: ${pushed} of ${count} weights came`);
          await finishScales(
            gpu,
            label,
            absmax,
            start / BLOCK,
            Math.ceil(count / BLOCK),
            doubleQuant,
          );
          ended += count;
        },
      };
    },
    finish() {
      invariant(ended === size, () => `${label}: ${ended} of ${size} weights are quantized`);
      slices.free();
      return { codes, absmax, shape };
    },
    abandon() {
      slices.free();
      for (const tensor of [codes, absmax]) gpu.free(tensor);
    },
  };
}

/** Uploads slices to one buffer, one after the other, and quantizes each. */
class SliceRunner {
  readonly #gpu: Gpu;
  readonly #label: string;
  readonly #step: StepScalars;
  readonly #workspace: Workspace;
  #staging: GPUBuffer | undefined;

  constructor(gpu: Gpu, label: string) {
    this.#gpu = gpu;
    this.#label = label;
    this.#step = new StepScalars(gpu);
    this.#workspace = new Workspace(gpu);
  }

  async run(bytes: Uint8Array<ArrayBuffer>, call: Omit<Nf4Quantize, "source">): Promise<void> {
    const gpu = this.#gpu;
    const source = this.#place(bytes.byteLength, call.kind);
    write(gpu, source, bytes);
    const recorder = new Recorder(gpu, this.#label, this.#workspace, this.#step);
    nf4Quantize(recorder, { ...call, source });
    const program = await recorder.build();
    program.run();
    try {
      // Waits, so that never more than one slice is queued for upload.
      await gpu.finish();
    } finally {
      program.free();
    }
  }

  free(): void {
    if (this.#staging) this.#gpu.freeBuffer(this.#staging);
    this.#step.free();
    this.#workspace.free();
  }

  #place(byteCount: number, kind: WeightKind): StoredTensor {
    const bytes = Math.ceil(byteCount / 16) * 16;
    if (!this.#staging || this.#staging.size < bytes) {
      if (this.#staging) this.#gpu.freeBuffer(this.#staging);
      this.#staging = this.#gpu.buffer(`${this.#label}.slice`, bytes);
    }
    return {
      label: `${this.#label}.slice`,
      dtype: kind === "native" ? "f32" : "u32",
      shape: [byteCount / 4],
      bytes,
      at: { buffer: this.#staging, offset: 0 },
    };
  }
}

/** Checks the block scales of a tensor and puts in their place what double quantization leaves of them. */
async function finishScales(
  gpu: Gpu,
  label: string,
  absmax: StoredTensor,
  firstBlock: number,
  blocks: number,
  doubleQuant: boolean,
): Promise<void> {
  const scales = new Float32Array(await read(gpu, absmax, firstBlock * 4, blocks * 4));
  const broken = scales.findIndex((scale) => !Number.isFinite(scale));
  if (broken >= 0) {
    throw new UserError(
      `${label} has a weight that is infinite or not a number, among ${BLOCK} from number ${(firstBlock + broken) * BLOCK}.`,
      "Download the model's files again; if the weight is still there, use another model.",
    );
  }
  if (doubleQuant) write(gpu, absmax, doubleQuantize(scales).dequantized, firstBlock * 4);
}

/**
 * Block scales to 8 bits each, as bitsandbytes does: their distance from the mean of the whole tensor, in
 * blocks of 256, on the signed dynamic map. `dequantized` is what is left of the scales.
 */
export function doubleQuantize(absmax: Float32Array): {
  quantized: Uint8Array<ArrayBuffer>;
  nestedAbsmax: Float32Array<ArrayBuffer>;
  offset: number;
  dequantized: Float32Array<ArrayBuffer>;
} {
  let sum = 0;
  for (const scale of absmax) sum += scale;
  const offset = Math.fround(sum / absmax.length);
  const quantized = new Uint8Array(absmax.length);
  const dequantized = new Float32Array(absmax.length);
  const nestedAbsmax = new Float32Array(Math.ceil(absmax.length / NESTED_BLOCK));
  for (let block = 0; block < nestedAbsmax.length; block++) {
    const start = block * NESTED_BLOCK;
    const centered = absmax.slice(start, start + NESTED_BLOCK).map((scale) => scale - offset);
    const largest = centered.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
    const reciprocal = largest === 0 ? 0 : Math.fround(1 / largest);
    nestedAbsmax[block] = largest;
    centered.forEach((value, i) => {
      const code = dynamicCode(Math.fround(value * reciprocal));
      quantized[start + i] = code;
      dequantized[start + i] = Math.fround(at(DYNAMIC_MAP, code) * largest) + offset;
    });
  }
  return { quantized, nestedAbsmax, offset, dequantized };
}

/** The code whose value is nearest to x; of two as near, the lower. */
function dynamicCode(x: number): number {
  let [low, high] = [0, DYNAMIC_MAP.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (x > at(DYNAMIC_THRESHOLDS, middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}

function at(values: Float32Array, index: number): number {
  return values[index] ?? Number.NaN;
}

// The positive half of bitsandbytes' signed dynamic map, create_dynamic_map(signed=True). A table, because
// the last bit of torch's linspace, which made it, follows from no formula.
const DYNAMIC_POSITIVE = [
  5.5000004e-7, 3.2500002e-6, 7.75e-6, 2.1249998e-5, 4.375e-5, 6.625e-5, 8.875e-5, 1.5625001e-4,
  2.6875004e-4, 3.8125002e-4, 4.9375003e-4, 6.062501e-4, 7.1875006e-4, 8.3125e-4, 9.437501e-4,
  0.0012812499, 0.00184375, 0.00240625, 0.00296875, 0.0035312497, 0.00409375, 0.0046562497,
  0.0052187503, 0.00578125, 0.00634375, 0.00690625, 0.00746875, 0.00803125, 0.00859375, 0.009156249,
  0.00971875, 0.01140625, 0.01421875, 0.01703125, 0.01984375, 0.02265625, 0.02546875, 0.028281247,
  0.03109375, 0.033906247, 0.036718752, 0.03953125, 0.042343747, 0.04515625, 0.04796875, 0.05078125,
  0.05359375, 0.05640625, 0.059218753, 0.062031247, 0.06484375, 0.067656256, 0.070468746,
  0.07328125, 0.07609375, 0.07890625, 0.08171874, 0.08453125, 0.08734375, 0.09015625, 0.092968754,
  0.095781244, 0.09859375, 0.107031256, 0.12109375, 0.13515624, 0.14921875, 0.16328125, 0.17734374,
  0.19140625, 0.20546874, 0.21953125, 0.23359376, 0.24765626, 0.26171875, 0.27578127, 0.28984374,
  0.30390626, 0.31796873, 0.33203125, 0.3460937, 0.36015624, 0.37421876, 0.38828123, 0.40234375,
  0.4164062, 0.43046874, 0.44453126, 0.45859373, 0.47265625, 0.48671877, 0.50078124, 0.51484376,
  0.5289062, 0.54296875, 0.5570313, 0.5710938, 0.58515626, 0.5992187, 0.61328125, 0.6273438,
  0.64140624, 0.65546876, 0.6695313, 0.68359375, 0.6976563, 0.7117188, 0.72578126, 0.7398438,
  0.75390625, 0.7679688, 0.78203124, 0.7960937, 0.8101562, 0.82421875, 0.8382812, 0.85234374,
  0.8664062, 0.8804687, 0.89453125, 0.9085938, 0.92265624, 0.9367187, 0.9507812, 0.96484375,
  0.9789062, 0.99296874, 1.0,
];

// Symmetric but for the 1, which has no negative.
const DYNAMIC_MAP = Float32Array.from([
  ...DYNAMIC_POSITIVE.slice(0, -1)
    .map((value) => -value)
    .toReversed(),
  0,
  ...DYNAMIC_POSITIVE,
]);

const DYNAMIC_THRESHOLDS = DYNAMIC_MAP.subarray(1).map((upper, i) =>
  Math.fround(Math.fround(at(DYNAMIC_MAP, i) + upper) / 2),
);
