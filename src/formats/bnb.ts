// bitsandbytes' 4-bit weights as safetensors files hold them: what stands beside the packed codes, checked,
// and turned into numbers exactly as bitsandbytes turns them.
//
// A weight W of N numbers is a tensor of that name with the packed codes, two a byte, the even element in
// the high nibble, and beside it
//   W.absmax                          f32 [⌈N / block⌉], or u8 where the scales are quantized themselves
//   W.quant_map                       f32 [16]: the values of the codes
//   W.nested_absmax                   f32 [⌈blocks / 256⌉], and
//   W.nested_quant_map                f32 [256], where they are
//   W.quant_state.bitsandbytes__nf4   u8: the text of a JSON object with everything that is no tensor
import { UserError } from "../base/error.ts";
import type { FloatDtype } from "./float.ts";
import { describeJson, isJsonObject, type JsonObject, parseJsonObject } from "./json.ts";

export type BnbQuantType = "nf4" | "fp4";

/** What stands in the JSON object beside a weight. */
export interface BnbState {
  readonly quantType: BnbQuantType;
  /** Weights that share one scale. */
  readonly blockSize: number;
  /** Type of the weight before it was quantized, and of what it is dequantized to. */
  readonly dtype: FloatDtype;
  readonly shape: readonly number[];
  /** Present where the scales are quantized. */
  readonly nested?: {
    /** Scales that share one scale of scales. */
    readonly blockSize: number;
    readonly offset: number;
  };
}

/** The values of the codes: f32 [16]. For NF4 ascending; for FP4 sign, two bits of exponent, mantissa. */
export const BNB_CODES: Readonly<Record<BnbQuantType, Float32Array<ArrayBuffer>>> = {
  nf4: Float32Array.of(
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
  ),
  fp4: Float32Array.from(
    [0, 0.0625, 8, 12, 4, 6, 2, 3, 0, -0.0625, -8, -12, -4, -6, -2, -3],
    (value) => value / 12,
  ),
};

const DTYPES: Readonly<Record<string, FloatDtype>> = {
  float32: "F32",
  float16: "F16",
  bfloat16: "BF16",
};
const AGAIN = "Download the model again, or choose its unquantized form.";

/**
 * Whether config.json speaks of bitsandbytes' 4-bit weights. Refuses LLM.int8 and the quantizations of
 * others by name. `place` names the file in errors.
 */
export function isBnb4bit(config: JsonObject, place: string): boolean {
  const settings = config["quantization_config"];
  if (settings === undefined || settings === null) return false;
  const refuse = (fact: string) =>
    new UserError(
      `${place}: ${fact}; of quantized weights Hone reads bitsandbytes' in 4 bits, and GGUF.`,
      "Choose the unquantized model, or one whose name ends in -bnb-4bit.",
    );
  if (!isJsonObject(settings)) throw refuse(`quantization_config is ${describeJson(settings)}`);
  const is8bit = settings["load_in_8bit"] === true;
  const is4bit = settings["load_in_4bit"] === true;
  // The first versions did not name the method.
  const method = settings["quant_method"] ?? (is4bit || is8bit ? "bitsandbytes" : undefined);
  if (method !== "bitsandbytes") {
    throw refuse(`quantization_config has quant_method ${describeJson(method)}`);
  }
  if (is8bit) throw refuse("quantization_config has load_in_8bit, which is LLM.int8");
  if (!is4bit) throw refuse("quantization_config has neither load_in_4bit nor load_in_8bit");
  return true;
}

/**
 * Checks and reads the JSON object of a weight. `quantType` is how the object's own name ends; `place`
 * names the tensor in errors.
 */
export function parseBnbState(bytes: Uint8Array, quantType: string, place: string): BnbState {
  const json = parseJsonObject(new TextDecoder().decode(bytes), place);
  const refuse = (key: string, needed: string) =>
    new UserError(
      `${place}: ${key} is ${describeJson(json[key])}, where ${needed} is needed.`,
      AGAIN,
    );
  const dtype = DTYPES[String(json["dtype"])];
  if (quantType !== "nf4" && quantType !== "fp4") {
    throw new UserError(
      `${place} is of the type ${quantType}; bitsandbytes has nf4 and fp4.`,
      AGAIN,
    );
  }
  if (json["quant_type"] !== quantType) throw refuse("quant_type", `the text "${quantType}"`);
  if (!dtype) throw refuse("dtype", '"float32", "float16" or "bfloat16"');
  const shape = json["shape"];
  if (!Array.isArray(shape) || shape.length === 0 || !shape.every(isSize)) {
    throw refuse("shape", "a list of positive whole numbers");
  }
  const blockSize = json["blocksize"];
  if (!isSize(blockSize) || !isPowerOfTwo(blockSize) || blockSize < 32 || blockSize > 4096) {
    throw refuse("blocksize", "a power of two from 32 to 4096");
  }
  const state = { quantType, blockSize, dtype, shape } as const;
  if (json["nested_blocksize"] === undefined && json["nested_offset"] === undefined) return state;

  const { nested_blocksize: nestedBlockSize, nested_offset: offset } = json;
  if (!isSize(nestedBlockSize)) throw refuse("nested_blocksize", "a positive whole number");
  if (json["nested_dtype"] !== "float32") throw refuse("nested_dtype", 'the text "float32"');
  if (typeof offset !== "number") throw refuse("nested_offset", "a number");
  return { ...state, nested: { blockSize: nestedBlockSize, offset: Math.fround(offset) } };
}

function isSize(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value > 0;
}

function isPowerOfTwo(value: number): boolean {
  return 2 ** Math.round(Math.log2(value)) === value;
}

/** Whether these are the values of that type's codes. A table rounded to bf16 still is. */
export function isCodeTable(values: Float32Array, quantType: BnbQuantType): boolean {
  const codes = BNB_CODES[quantType];
  return (
    values.length === codes.length &&
    codes.every((code, i) => Math.abs((values[i] ?? Number.NaN) - code) <= 2 ** -8)
  );
}

/** Scales that were quantized themselves, from scale `first` on, which begins a nested block. */
export interface NestedScales {
  readonly codes: Uint8Array;
  /** f32 [256]. */
  readonly map: Float32Array;
  /** One for each block of the codes. */
  readonly absmax: Float32Array;
  readonly blockSize: number;
  readonly offset: number;
}

/** The scales as bitsandbytes has them before it dequantizes weights: a product and a sum in f32. */
export function dequantizeScales(scales: NestedScales): Float32Array<ArrayBuffer> {
  const { codes, map, absmax, blockSize, offset } = scales;
  const values = new Float32Array(codes.length);
  codes.forEach((code, i) => {
    const scale = absmax[Math.floor(i / blockSize)] ?? Number.NaN;
    values[i] = Math.fround((map[code] ?? Number.NaN) * scale) + offset;
  });
  return values;
}

/** Some codes of a weight and their scales. */
export interface PackedCodes {
  /** Packed codes, beginning with those of a block. */
  readonly packed: Uint8Array;
  /** One for each block. */
  readonly absmax: Float32Array;
  readonly blockSize: number;
  readonly quantType: BnbQuantType;
}

/** The weights [start, end) of those packed, in f32: bitsandbytes rounds them to the state's dtype next. */
export function dequantizeCodes(
  { packed, absmax, blockSize, quantType }: PackedCodes,
  start: number,
  end: number,
): Float32Array<ArrayBuffer> {
  const codes = BNB_CODES[quantType];
  const values = new Float32Array(end - start);
  for (let i = start; i < end; i++) {
    const byte = packed[i >> 1] ?? 0;
    const code = codes[i % 2 === 0 ? byte >> 4 : byte & 15] ?? Number.NaN;
    values[i - start] = code * (absmax[Math.floor(i / blockSize)] ?? Number.NaN);
  }
  return values;
}

/** The JSON object beside a weight, to the byte as Python writes it. */
export function encodeBnbState(state: BnbState): Uint8Array<ArrayBuffer> {
  const { quantType, blockSize, dtype, shape, nested } = state;
  const items = [
    `"quant_type": "${quantType}"`,
    `"blocksize": ${blockSize}`,
    `"dtype": "${dtypeName(dtype)}"`,
    `"shape": [${shape.join(", ")}]`,
  ];
  if (nested) {
    items.push(
      `"nested_blocksize": ${nested.blockSize}`,
      '"nested_dtype": "float32"',
      `"nested_offset": ${pythonFloat(nested.offset)}`,
    );
  }
  return new TextEncoder().encode(`{${items.join(", ")}}`);
}

function dtypeName(dtype: FloatDtype): string {
  return Object.entries(DTYPES).find(([, value]) => value === dtype)?.[0] ?? dtype;
}

/** A number as Python's repr has it: the same digits as here, another choice of when to use an exponent. */
function pythonFloat(value: number): string {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e16)) {
    return value.toExponential().replace(/e([+-])(\d)$/, "e$10$2");
  }
  return Number.isInteger(value) ? `${value}.0` : String(value);
}

/** In what type packed codes can be stored, for what only moves floats. */
export const BNB_STORAGE = {
  uint8: "U8",
  bfloat16: "BF16",
  float16: "F16",
  float32: "F32",
} as const;

export type BnbStorage = keyof typeof BNB_STORAGE;

export interface BnbSettings {
  readonly doubleQuant: boolean;
  readonly storage: BnbStorage;
  /** What products are computed in. */
  readonly computeDtype: FloatDtype;
}

/**
 * The text of a config.json without quantization_config, with the one that transformers writes for NF4. The
 * rest stays as it is, to the byte: a 10000.0 that became 10000 would be another type in Python.
 */
export function withBnbConfig(text: string, settings: BnbSettings): string {
  // Written by hand for the sake of the 6.0, which transformers refuses as a whole number.
  const own = `"quantization_config": {
    "_load_in_4bit": true,
    "_load_in_8bit": false,
    "bnb_4bit_compute_dtype": "${dtypeName(settings.computeDtype)}",
    "bnb_4bit_quant_storage": "${settings.storage}",
    "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_use_double_quant": ${settings.doubleQuant},
    "llm_int8_enable_fp32_cpu_offload": false,
    "llm_int8_has_fp16_weight": false,
    "llm_int8_skip_modules": null,
    "llm_int8_threshold": 6.0,
    "load_in_4bit": true,
    "load_in_8bit": false,
    "quant_method": "bitsandbytes"
  }`;
  return text
    .replace(/,\s*"quantization_config"\s*:\s*null|"quantization_config"\s*:\s*null\s*,/, "")
    .replace(/\s*\}\s*$/, `,\n  ${own}\n}\n`);
}
