// Weights to NF4, a slice of a large tensor at a time, bit for bit as bitsandbytes does it.
//
// The codes and block scales are made on the GPU. The scales of scales (double quantization) are few, and
// are made on the host (double-quant.ts).
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
import { doubleQuantize } from "./double-quant.ts";
import { quadType, WIDEN_SOURCE, type WeightKind } from "./matmul.ts";

/** Weights that share one scale. */
const BLOCK = 64;

/** Codes that are uploaded at one time, in bytes. */
const TAKE_BYTES = 16 * 2 ** 20;

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

/** A tensor that is NF4 already. */
export interface Nf4Codes {
  /** Packed codes [start, end) in bytes: two a byte, the even element in the high nibble. */
  readCodes(start: number, end: number): Promise<Uint8Array<ArrayBuffer>>;
  /** The f32 scale of every block. */
  readAbsmax(): Promise<Float32Array<ArrayBuffer>>;
}

export interface Nf4Quantizer {
  /** Begins the tensor that fills [start, start + count) of the flat weight, on whole blocks. */
  begin(start: number, count: number, dtype: Nf4SourceDtype): Nf4Part;
  /** Fills that range with what is NF4 already. */
  take(start: number, count: number, source: Nf4Codes): Promise<void>;
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
  const target: Target = {
    gpu,
    label,
    codes: gpu.allocate(`${label}.codes`, "u32", [Math.ceil(size / 8)]),
    absmax: gpu.allocate(`${label}.absmax`, "f32", [Math.ceil(size / BLOCK)]),
    slices: new SliceRunner(gpu, label),
    doubleQuant,
  };
  const { codes, absmax, slices } = target;
  let ended = 0;
  const checkRange = (start: number, count: number) =>
    invariant(
      start % BLOCK === 0 &&
        start + count <= size &&
        (count % BLOCK === 0 || start + count === size),
      () => `${label}: ${count} weights from ${start} of ${size} do not fill whole blocks`,
    );
  return {
    async take(start, count, source) {
      checkRange(start, count);
      await takeCodes(target, start, count, source);
      ended += count;
    },
    begin(start, count, dtype) {
      checkRange(start, count);
      const part = beginPart(target, start, count, dtype);
      return {
        push: (bytes) => part.push(bytes),
        async end() {
          await part.end();
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

/** A weight in the making. */
interface Target {
  readonly gpu: Gpu;
  readonly label: string;
  readonly codes: StoredTensor;
  readonly absmax: StoredTensor;
  readonly slices: SliceRunner;
  readonly doubleQuant: boolean;
}

async function takeCodes(
  { gpu, label, codes, absmax }: Target,
  start: number,
  count: number,
  source: Nf4Codes,
): Promise<void> {
  const bytes = Math.ceil(count / 2);
  for (let from = 0; from < bytes; from += TAKE_BYTES) {
    const part = await source.readCodes(from, Math.min(from + TAKE_BYTES, bytes));
    write(gpu, codes, part, start / 2 + from);
    await gpu.finish(); // so that never more than one slice is queued for upload
  }
  const scales = await source.readAbsmax();
  refuseBrokenScales(label, scales);
  write(gpu, absmax, scales, (start / BLOCK) * 4);
}

function beginPart(
  { gpu, label, codes, absmax, slices, doubleQuant }: Target,
  start: number,
  count: number,
  dtype: Nf4SourceDtype,
): Nf4Part {
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
      const blocks = Math.ceil(count / BLOCK);
      await finishScales(gpu, label, absmax, start / BLOCK, blocks, doubleQuant);
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
  refuseBrokenScales(label, scales, firstBlock);
  if (doubleQuant) write(gpu, absmax, doubleQuantize(scales).dequantized, firstBlock * 4);
}

function refuseBrokenScales(label: string, scales: Float32Array, firstBlock = 0): void {
  const broken = scales.findIndex((scale) => !Number.isFinite(scale));
  if (broken >= 0) {
    throw new UserError(
      `${label} has a weight that is infinite or not a number, among ${BLOCK} from number ${(firstBlock + broken) * BLOCK}.`,
      "Download the model's files again; if the weight is still there, use another model.",
    );
  }
}
