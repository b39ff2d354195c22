// Weights that bitsandbytes quantized to 4 bits, as the tensors they were: each one tensor, where files
// hold packed codes and a handful of tensors beside them.
//
// NF4 in blocks of 64 is what the engine computes with, so it goes to the GPU as it is. Everything else is
// turned back to numbers here. What no quantization touched (embeddings, head, norms, the modules of
// llm_int8_skip_modules) passes through.
import { UserError } from "../../base/error.ts";
import {
  type BnbState,
  dequantizeCodes,
  dequantizeScales,
  isBnb4bit,
  isCodeTable,
  parseBnbState,
} from "../../formats/bnb.ts";
import { decodeFloats, encodeFloats } from "../../formats/float.ts";
import type { JsonObject } from "../../formats/json.ts";
import {
  isFloatTensor,
  type ModelFiles,
  sizeInBytes,
  type SourceTensor,
} from "./checkpoint-files.ts";

const COMPANION =
  /^(.+)\.(absmax|quant_map|nested_absmax|nested_quant_map|quant_state\.bitsandbytes__(\w+))$/;
const INT8 = /\.(SCB|weight_format)$/;
const AGAIN = "Download the model again, or choose its unquantized form.";

/**
 * The same files with every 4-bit weight as one tensor of its own shape, in the dtype that it had before.
 * Reads the few bytes beside each weight that say how it is stored; refuses what does not fit together.
 * `place` names config.json in errors.
 */
export async function withBnbTensors(
  files: ModelFiles,
  config: JsonObject,
  place: string,
): Promise<ModelFiles> {
  const is4bit = isBnb4bit(config, place);
  const companions = groupCompanions(files);
  const tensors = new Map<string, SourceTensor>();
  for (const [name, tensor] of files.tensors) {
    const own = companions.get(name);
    if (COMPANION.test(name)) continue;
    if (own) tensors.set(name, await openWeight(tensor, own));
    else if (is4bit && tensor.dtype === "U8" && name.endsWith(".weight")) {
      throw new UserError(
        `${tensor.place}: ${name} is U8, and no ${name}.quant_state says how it is quantized.`,
        AGAIN,
      );
    } else tensors.set(name, tensor);
  }
  const totalBytes = [...tensors.values()].reduce(
    (sum, { dtype, shape }) => sum + sizeInBytes(dtype, product(shape)),
    0,
  );
  return { path: files.path, tensors, totalBytes, isQuantized: true };
}

/** What stands beside a weight. */
interface Companions {
  readonly tensors: Map<string, SourceTensor>;
  state?: { readonly tensor: SourceTensor; readonly quantType: string };
}

/** By the name of the weight. Refuses a companion that stands beside nothing. */
function groupCompanions({ tensors, path }: ModelFiles): Map<string, Companions> {
  const groups = new Map<string, Companions>();
  for (const [name, tensor] of tensors) {
    if (INT8.test(name)) {
      throw new UserError(
        `${tensor.place} has ${name}: weights in 8 bits (LLM.int8), which Hone does not read.`,
        "Choose the unquantized model, or one whose name ends in -bnb-4bit.",
      );
    }
    const [, weight, key, quantType] = COMPANION.exec(name) ?? [];
    if (weight === undefined || key === undefined) continue;
    if (!tensors.has(weight)) {
      throw new UserError(`${tensor.place} has ${name}, and ${path} has no ${weight}.`, AGAIN);
    }
    const group: Companions = groups.get(weight) ?? { tensors: new Map() };
    groups.set(weight, group);
    if (quantType === undefined) group.tensors.set(key, tensor);
    else if (!group.state) group.state = { tensor, quantType };
    else {
      throw new UserError(
        `${tensor.place}: ${weight} is said to be both ${group.state.quantType} and ${quantType}.`,
        AGAIN,
      );
    }
  }
  return groups;
}

async function openWeight(packed: SourceTensor, own: Companions): Promise<SourceTensor> {
  const { name } = packed;
  const [first] = own.tensors.keys();
  if (!own.state) {
    throw new UserError(
      `${packed.place}: ${name} has ${first} beside it, and no quant_state.`,
      AGAIN,
    );
  }
  const { tensor, quantType } = own.state;
  const text = await tensor.read(0, product(tensor.shape));
  const state = parseBnbState(text, quantType, `${tensor.place}: ${tensor.name}`);
  const weight = new BnbWeight(packed, own.tensors, state);
  await weight.checkCodeTable();
  return {
    name,
    shape: state.shape,
    dtype: state.dtype,
    place: packed.place,
    read: (start, end) => weight.read(start, end),
    ...(quantType === "nf4" &&
      state.blockSize === 64 && {
        nf4: {
          readCodes: (start, end, into) => weight.codes(start, end, into),
          readAbsmax: () => weight.scales(0, weight.blocks),
        },
      }),
  };
}

/** A weight whose parts all have the lengths they must have. */
class BnbWeight {
  readonly #packed: SourceTensor;
  readonly #companions: ReadonlyMap<string, SourceTensor>;
  readonly #state: BnbState;
  readonly blocks: number;

  constructor(
    packed: SourceTensor,
    companions: ReadonlyMap<string, SourceTensor>,
    state: BnbState,
  ) {
    this.#packed = packed;
    this.#companions = companions;
    this.#state = state;
    const { shape, blockSize, nested } = state;
    const size = product(shape);
    this.blocks = Math.ceil(size / blockSize);
    const bytes = sizeInBytes(packed.dtype, product(packed.shape));
    // Where codes are stored as floats, their bytes are a whole number of those.
    const unit = sizeInBytes(packed.dtype, 1);
    const needed = Math.ceil(Math.ceil(size / 2) / unit) * unit;
    if (bytes !== needed) {
      throw new UserError(
        `${packed.place}: ${packed.name} has ${bytes} bytes of codes; [${shape.join(", ")}] takes ${needed}.`,
        AGAIN,
      );
    }
    this.#require("quant_map", 16);
    this.#require("absmax", this.blocks, nested && "U8");
    if (nested) {
      this.#require("nested_absmax", Math.ceil(this.blocks / nested.blockSize));
      this.#require("nested_quant_map", 256);
    }
  }

  async checkCodeTable(): Promise<void> {
    const { quantType } = this.#state;
    if (isCodeTable(await this.#floats("quant_map", 0, 16), quantType)) return;
    throw new UserError(
      `${this.#packed.place}: ${this.#packed.name}.quant_map is not the table of ${quantType}.`,
      AGAIN,
    );
  }

  /** Bytes [start, end) of the packed codes. */
  async codes(
    start: number,
    end: number,
    into?: Uint8Array<ArrayBuffer>,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const unit = sizeInBytes(this.#packed.dtype, 1);
    const first = Math.floor(start / unit);
    const isWhole = start === first * unit;
    const bytes = await this.#packed.read(first, Math.ceil(end / unit), isWhole ? into : undefined);
    return bytes.subarray(start - first * unit, end - first * unit);
  }

  /** The scales of blocks [start, end). */
  async scales(start: number, end: number): Promise<Float32Array<ArrayBuffer>> {
    const { nested } = this.#state;
    if (!nested) return this.#floats("absmax", start, end);
    const { blockSize, offset } = nested;
    const firstNested = Math.floor(start / blockSize);
    const first = firstNested * blockSize;
    const scales = dequantizeScales({
      codes: await this.#require("absmax", this.blocks, "U8").read(first, end),
      map: await this.#floats("nested_quant_map", 0, 256),
      absmax: await this.#floats("nested_absmax", firstNested, Math.ceil(end / blockSize)),
      blockSize,
      offset,
    });
    return scales.subarray(start - first);
  }

  /** Elements [start, end), dequantized and rounded to the weight's dtype. */
  async read(start: number, end: number): Promise<Uint8Array<ArrayBuffer>> {
    const { blockSize, quantType, dtype } = this.#state;
    const block = Math.floor(start / blockSize);
    const first = block * blockSize;
    const absmax = await this.scales(block, Math.ceil(end / blockSize));
    const packed = await this.codes(first / 2, Math.ceil(end / 2));
    const codes = { packed, absmax, blockSize, quantType };
    return encodeFloats(dequantizeCodes(codes, start - first, end - first), dtype);
  }

  async #floats(key: string, start: number, end: number): Promise<Float32Array<ArrayBuffer>> {
    const tensor = this.#require(key);
    return isFloatTensor(tensor)
      ? decodeFloats(await tensor.read(start, end), tensor.dtype)
      : new Float32Array();
  }

  /** A companion, which must be there, and of that many numbers: bytes, or else floats. */
  #require(key: string, count?: number, dtype?: "U8"): SourceTensor {
    const { name, place } = this.#packed;
    const found = this.#companions.get(key);
    if (!found) throw new UserError(`${place}: ${name} has no ${key} beside it.`, AGAIN);
    const isRight = dtype === undefined ? isFloatTensor(found) : found.dtype === dtype;
    if (!isRight || (count !== undefined && product(found.shape) !== count)) {
      throw new UserError(
        `${found.place}: ${found.name} is ${found.dtype} [${found.shape.join(", ")}]; ${dtype ?? "F32"} [${count}] is needed.`,
        AGAIN,
      );
    }
    return found;
  }
}

function product(shape: readonly number[]): number {
  return shape.reduce((size, extent) => size * extent, 1);
}
