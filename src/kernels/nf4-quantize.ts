// Weights to NF4, a slice of a large tensor at a time, bit for bit as bitsandbytes does it.
//
// The codes and block scales are made on the GPU. The scales of scales (double quantization) are few, and
// are made on the host (double-quant.ts).
import { invariant, UserError } from "../base/error.ts";
import type { Gpu } from "../gpu/device.ts";
import { foldGrid, type Shader, workgroups } from "../gpu/kernel.ts";
import { type Program, Recorder } from "../gpu/program.ts";
import { ReadRing } from "../gpu/read-ring.ts";
import { StepScalars } from "../gpu/step-scalars.ts";
import { type StoredTensor, type Tensor, write } from "../gpu/tensor.ts";
import { UPLOAD_SLOTS, UploadRing } from "../gpu/upload.ts";
import { Workspace } from "../gpu/workspace.ts";
import gridLib from "../../shaders/lib/grid.wgsl?raw";
import nf4Lib from "../../shaders/lib/nf4.wgsl?raw";
import shader from "../../shaders/nf4-quantize.wgsl?raw";
import { type Nf4Weight, quadType, type WeightKind, WIDEN_SOURCE } from "./weight.ts";
import { doubleQuantize } from "./double-quant.ts";

/** Weights that share one scale. */
const BLOCK = 64;

/** Tensors of one desk whose scales are read back at a time. */
export const MOST_SCALES_UNDER_WAY = 5;

/** Codes that are uploaded at one time, in bytes. */
const TAKE_BYTES = 8 * 2 ** 20;

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
  /**
   * Reads the next `elements` and makes ready to quantize them; every slice but the last is a number of
   * whole blocks. What it resolves to queues the slice, and is called once, in the order of the slices.
   * `readInto` gets memory that it may read into.
   */
  prepare(elements: number, readInto: ReadInto): Promise<() => void>;
  /** Queues the next slice, little-endian. */
  push(bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** Quantizes the scales, which needs all of them. Throws if a weight is not finite. */
  end(): Promise<void>;
}

/** Reads bytes, into `into` if it can. */
export type ReadInto = (into: Uint8Array<ArrayBuffer>) => Promise<Uint8Array<ArrayBuffer>>;

/** A tensor that is NF4 already. */
export interface Nf4Codes {
  /** Packed codes [start, end) in bytes: two a byte, the even element in the high nibble. */
  readCodes(start: number, end: number): Promise<Uint8Array<ArrayBuffer>>;
  /** The f32 scale of every block. */
  readAbsmax(): Promise<Float32Array<ArrayBuffer>>;
}

export interface Nf4Quantizer {
  /** The weight in the making. */
  readonly weight: StoredNf4Weight;
  /** Begins the tensor that fills [start, start + count) of the flat weight, on whole blocks. */
  begin(start: number, count: number, dtype: Nf4SourceDtype): Nf4Part;
  /** Fills that range with what is NF4 already. */
  take(start: number, count: number, source: Nf4Codes): Promise<void>;
  /** Fills the scales of that range, whose codes are queued by the caller. */
  takeScales(start: number, count: number, scales: Float32Array<ArrayBuffer>): void;
  /** The weight, which the caller now owns. Every part must have ended. */
  finish(): StoredNf4Weight;
  /** Frees all of it, where the weight could not be finished. */
  abandon(): void;
}

export type StoredNf4Weight = Nf4Weight & {
  readonly codes: StoredTensor;
  readonly absmax: StoredTensor;
};

export interface Nf4QuantizerOptions {
  /** Keep the scales in 8 bits, as bitsandbytes does with compress_statistics. True, if not given. */
  readonly doubleQuant?: boolean;
  /** Shared with other quantizers and freed by the caller; its own, if not given. */
  readonly desk?: QuantizerDesk;
}

/** Allocates an NF4 weight of `shape`, to be filled tensor by tensor, slice by slice. */
export function createNf4Quantizer(
  gpu: Gpu,
  label: string,
  shape: readonly [outputs: number, inputs: number],
  { doubleQuant = true, desk: shared }: Nf4QuantizerOptions = {},
): Nf4Quantizer {
  const size = shape[0] * shape[1];
  const desk = shared ?? new QuantizerDesk(gpu, label);
  const codes = gpu.allocate(`${label}.codes`, "u32", [Math.ceil(size / 8)]);
  const absmax = gpu.allocate(`${label}.absmax`, "f32", [Math.ceil(size / BLOCK)]);
  const weight = { codes, absmax, shape };
  const target: Target = { gpu, label, weight, desk, doubleQuant };
  let ended = 0;
  const checkRange = (start: number, count: number) =>
    invariant(
      start % BLOCK === 0 &&
        start + count <= size &&
        (count % BLOCK === 0 || start + count === size),
      () => `${label}: ${count} weights from ${start} of ${size} do not fill whole blocks`,
    );
  const takeScales = (start: number, count: number, scales: Float32Array<ArrayBuffer>) => {
    checkRange(start, count);
    refuseBrokenScales(label, scales);
    write(gpu, absmax, scales, (start / BLOCK) * 4);
    ended += count;
  };
  return {
    weight,
    async take(start, count, source) {
      await queueCodes(target, start, count, source);
      takeScales(start, count, await source.readAbsmax());
    },
    takeScales,
    begin(start, count, dtype) {
      checkRange(start, count);
      const part = beginPart(target, start, count, dtype);
      return {
        ...part,
        async end() {
          await part.end();
          ended += count;
        },
      };
    },
    finish() {
      invariant(ended === size, () => `${label}: ${ended} of ${size} weights are quantized`);
      if (!shared) desk.free();
      return weight;
    },
    abandon() {
      if (!shared) desk.free();
      for (const tensor of [codes, absmax]) gpu.free(tensor);
    },
  };
}

/** A weight in the making. */
interface Target {
  readonly gpu: Gpu;
  readonly label: string;
  readonly weight: StoredNf4Weight;
  readonly desk: QuantizerDesk;
  readonly doubleQuant: boolean;
}

async function queueCodes(
  { desk, weight }: Target,
  start: number,
  count: number,
  source: Nf4Codes,
): Promise<void> {
  const bytes = Math.ceil(count / 2);
  for (let from = 0; from < bytes; from += TAKE_BYTES) {
    const end = Math.min(from + TAKE_BYTES, bytes);
    const slot = await desk.ring.take(end - from);
    slot.fill(await source.readCodes(from, end));
    slot.send(weight.codes, start / 2 + from);
  }
}

function beginPart(target: Target, start: number, count: number, dtype: Nf4SourceDtype): Nf4Part {
  const { label, weight, desk } = target;
  const { codes, absmax } = weight;
  const kind = KINDS[dtype];
  const elementBytes = dtype === "F32" ? 4 : 2;
  let prepared = 0;
  const prepare: Nf4Part["prepare"] = async (elements, readInto) => {
    invariant(
      prepared % BLOCK === 0 && prepared + elements <= count,
      () => `${label}: ${elements} weights after ${prepared} of ${count}`,
    );
    const firstBlock = (start + prepared) / BLOCK;
    prepared += elements;
    const call = { kind, count: elements, codes, absmax, firstBlock };
    return desk.prepare(elements * elementBytes, readInto, call);
  };
  return {
    prepare,
    async push(bytes) {
      const queue = await prepare(bytes.byteLength / elementBytes, async () => bytes);
      queue();
    },
    async end() {
      invariant(prepared === count, () => `${label}: ${prepared} of ${count} weights came`);
      await finishScales(target, start / BLOCK, Math.ceil(count / BLOCK));
    },
  };
}

/** What quantizers share: the way up, a place on the GPU for a slice, and programs to quantize it. */
export class QuantizerDesk {
  readonly ring: UploadRing;
  /** The way of scales back to the host. */
  readonly scales: ReadRing;
  readonly #gpu: Gpu;
  readonly #label: string;
  /** What programs want and the quantizer does not use. */
  #extras: { readonly step: StepScalars; readonly workspace: Workspace } | undefined;
  /** The last is in use; those before it were too small. */
  readonly #sources: GPUBuffer[] = [];
  /** Of the last slices. They stay a while, so that what is there at one time does not depend on the GPU's pace. */
  readonly #programs: (Program | undefined)[] = [];
  #prepared = 0;

  /** Allocates nothing: all of it comes with the first slice. */
  constructor(gpu: Gpu, label: string) {
    this.#gpu = gpu;
    this.#label = label;
    this.ring = new UploadRing(gpu, label);
    this.scales = new ReadRing(gpu, `${label}.absmax`, MOST_SCALES_UNDER_WAY);
  }

  /** Reads a slice; what it resolves to queues its upload and `call`. */
  async prepare(
    byteCount: number,
    readInto: ReadInto,
    call: Omit<Nf4Quantize, "source">,
  ): Promise<() => void> {
    const gpu = this.#gpu;
    const turn = this.#prepared++ % UPLOAD_SLOTS;
    const slot = await this.ring.take(byteCount);
    this.#programs[turn]?.free(); // it has run, or its slot would not be free
    this.#programs[turn] = undefined;
    const source = this.#place(byteCount, call.kind);
    this.#extras ??= { step: new StepScalars(gpu), workspace: new Workspace(gpu) };
    const { step, workspace } = this.#extras;
    const recorder = new Recorder(gpu, this.#label, workspace, step);
    nf4Quantize(recorder, { ...call, source });
    // The program is made while the slice is read. Both end before an error is told: a read that goes on
    // would write to memory that is freed then.
    const [data, made] = await Promise.allSettled([readInto(slot.bytes), recorder.build()]);
    if (made.status === "rejected") throw made.reason;
    const program = made.value;
    this.#programs[turn] = program;
    if (data.status === "rejected") throw data.reason;
    slot.fill(data.value);
    return () => {
      slot.send(source, 0);
      program.run();
    };
  }

  /** Nothing may be under way that reads into the ring. */
  free(): void {
    this.ring.free();
    this.scales.free();
    for (const buffer of this.#sources) this.#gpu.freeBuffer(buffer);
    for (const program of this.#programs) program?.free();
    this.#extras?.step.free();
    this.#extras?.workspace.free();
  }

  #place(byteCount: number, kind: WeightKind): StoredTensor {
    const bytes = Math.ceil(byteCount / 16) * 16;
    let buffer = this.#sources.at(-1);
    if (!buffer || buffer.size < bytes) {
      buffer = this.#gpu.buffer(`${this.#label}.slice`, bytes);
      this.#sources.push(buffer);
    }
    return {
      label: `${this.#label}.slice`,
      dtype: kind === "native" ? "f32" : "u32",
      shape: [byteCount / 4],
      bytes,
      at: { buffer, offset: 0 },
    };
  }
}

/** Checks the block scales of a tensor and puts in their place what double quantization leaves of them. */
async function finishScales(
  { gpu, label, weight: { absmax }, desk, doubleQuant }: Target,
  firstBlock: number,
  blocks: number,
): Promise<void> {
  const scales = new Float32Array(await desk.scales.read(absmax, firstBlock * 4, blocks * 4));
  refuseBrokenScales(label, scales, firstBlock);
  if (doubleQuant) write(gpu, absmax, doubleQuantize(scales).dequantized, firstBlock * 4);
}

function refuseBrokenScales(label: string, scales: Float32Array, firstBlock = 0): void {
  for (let i = 0; i < scales.length; i++) {
    if (Number.isFinite(scales[i])) continue;
    throw new UserError(
      `${label} has a weight that is infinite or not a number, among ${BLOCK} from number ${(firstBlock + i) * BLOCK}.`,
      "Download the model's files again; if the weight is still there, use another model.",
    );
  }
}
