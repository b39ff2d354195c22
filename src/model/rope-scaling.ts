// Rotary embedding's frequencies, with the scaling that a config asks for.
import { UserError } from "../base/error.ts";
import { isJsonObject, type JsonObject } from "../formats/json.ts";

/** The turning of a head's pairs of dimensions. */
export interface RopeAngles {
  /** Radians per position for each pair, in f64. */
  readonly inverseFrequencies: readonly number[];
  /** Multiplies cosines and sines. */
  readonly scale: number;
}

export interface Rope {
  /** Dimensions of a head that turn: the first of it. */
  readonly rotaryDims: number;
  /** The angles for sequences of up to `positions` tokens. */
  readonly anglesFor: (positions: number) => RopeAngles;
}

export interface RopeOptions {
  readonly theta: number;
  /** Dimensions of a head. */
  readonly headSize: number;
  /** `max_position_embeddings`. */
  readonly maxPositions: number;
  /** `rope_scaling`, or `rope_parameters`, with what else transformers 5 keeps there. */
  readonly scaling: JsonObject;
  /** Where the keys stand, for errors. */
  readonly place: string;
}

/**
 * Understands the default, `linear`, `dynamic`, `llama3`, `yarn` and `longrope` (transformers
 * `modeling_rope_utils.py`).
 *
 * `dynamic` and `longrope` depend on the length of the sequence. transformers looks at each batch;
 * Hone at the longest sequence of the run, as vLLM does, so that keys of one conversation agree.
 */
export function parseRope(options: RopeOptions): Rope {
  const { scaling, headSize, place, theta } = options;
  const named = scaling["rope_type"] ?? scaling["type"] ?? "default";
  // Early Phi-3 configs say "yarn" or "su" of what is longrope.
  const type = Array.isArray(scaling["short_factor"]) ? "longrope" : named;
  const read = readerOf(scaling, JSON.stringify(type), place);
  const rotaryDims = Math.floor(headSize * (read.optional("partial_rotary_factor") ?? 1));
  if (rotaryDims % 2 !== 0 || rotaryDims > headSize) {
    throw new UserError(
      `${place}: partial_rotary_factor leaves ${rotaryDims} of ${headSize} dimensions, which are no pairs.`,
      "Download the model's config.json again.",
    );
  }
  const plain = frequencies(theta, rotaryDims);
  const fixed = (inverseFrequencies: readonly number[]): Rope => ({
    rotaryDims,
    anglesFor: () => ({ inverseFrequencies, scale: 1 }),
  });
  switch (type) {
    case "default":
      return fixed(plain);
    case "linear": {
      const factor = read.number("factor");
      return fixed(plain.map((frequency) => frequency / factor));
    }
    case "llama3":
      return fixed(llama3(plain, read));
    case "dynamic":
      return { rotaryDims, anglesFor: dynamicNtk(options, rotaryDims, read) };
    case "yarn":
      return { rotaryDims, anglesFor: yarn(options, plain, read) };
    case "longrope":
      return { rotaryDims, anglesFor: longrope(options, plain, read) };
    default:
      throw new UserError(
        `${place}: rope_scaling is of type ${JSON.stringify(type)}, which Hone does not support.`,
        "Choose a model with the default, linear, dynamic, llama3, yarn or longrope scaling.",
      );
  }
}

function frequencies(theta: number, dims: number): number[] {
  return Array.from({ length: dims / 2 }, (_, i) => theta ** ((-2 * i) / dims));
}

/** Slows the pairs whose wave is long beside the original context, and leaves the quick ones. */
function llama3(plain: readonly number[], read: ScalingReader): number[] {
  const factor = read.number("factor");
  const low = read.number("low_freq_factor");
  const high = read.number("high_freq_factor");
  const original = read.number("original_max_position_embeddings");
  return plain.map((frequency) => {
    const wavelength = (2 * Math.PI) / frequency;
    if (wavelength < original / high) return frequency;
    if (wavelength > original / low) return frequency / factor;
    const smooth = (original / wavelength - low) / (high - low);
    return frequency * ((1 - smooth) / factor + smooth);
  });
}

/** Past the context that the model was made for, a larger base. */
function dynamicNtk(
  { theta, maxPositions }: RopeOptions,
  dims: number,
  read: ScalingReader,
): Rope["anglesFor"] {
  const factor = read.number("factor");
  return (positions) => {
    const length = Math.max(positions, maxPositions);
    const growth = (factor * length) / maxPositions - (factor - 1);
    const base = theta * growth ** (dims / (dims - 2));
    return { inverseFrequencies: frequencies(base, dims), scale: 1 };
  };
}

/** Slows the pairs that turn less than `beta_slow` times in the original context, by a ramp of pairs. */
function yarn(
  { theta }: RopeOptions,
  plain: readonly number[],
  read: ScalingReader,
): Rope["anglesFor"] {
  const factor = read.number("factor");
  const original = read.number("original_max_position_embeddings");
  const scaleOf = (weight: number) => (factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1);
  const mscale = read.optional("mscale");
  const ofAll = read.optional("mscale_all_dim");
  const usual = mscale && ofAll ? scaleOf(mscale) / scaleOf(ofAll) : scaleOf(1);
  const scale = read.optional("attention_factor") ?? usual;
  const isTruncated = read.flag("truncate", true);
  // The pair that turns so many times in the original context.
  const pairOf = (turns: number) =>
    (plain.length * Math.log(original / (turns * 2 * Math.PI))) / Math.log(theta);
  const first = pairOf(read.optional("beta_fast") ?? 32);
  const last = pairOf(read.optional("beta_slow") ?? 1);
  const low = Math.max(isTruncated ? Math.floor(first) : first, 0);
  const high = Math.min(isTruncated ? Math.ceil(last) : last, 2 * plain.length - 1);
  const inverseFrequencies = plain.map((frequency, i) => {
    const ramp = Math.min(Math.max((i - low) / (high === low ? 0.001 : high - low), 0), 1);
    return (frequency / factor) * ramp + frequency * (1 - ramp);
  });
  return () => ({ inverseFrequencies, scale });
}

/** A factor for every pair: one list for short sequences, one for those past the original context. */
function longrope(
  { maxPositions }: RopeOptions,
  plain: readonly number[],
  read: ScalingReader,
): Rope["anglesFor"] {
  const short = read.list("short_factor", plain.length);
  const long = read.list("long_factor", plain.length);
  const original = read.number("original_max_position_embeddings");
  const factor = read.optional("factor") ?? maxPositions / original;
  const scale =
    read.optional("attention_factor") ??
    (factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original)));
  return (positions) => {
    const factors = positions > original ? long : short;
    const inverseFrequencies = plain.map((frequency, i) => frequency / (factors[i] ?? 1));
    return { inverseFrequencies, scale };
  };
}

interface ScalingReader {
  number(key: string): number;
  optional(key: string): number | undefined;
  flag(key: string, fallback: boolean): boolean;
  list(key: string, length: number): number[];
}

function isPositive(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value) && value > 0;
}

function readerOf(scaling: JsonObject, type: string, place: string): ScalingReader {
  const refuse = (key: string, wanted: string): never => {
    throw new UserError(
      `${place}: rope_scaling of type ${type} has ${key} ${JSON.stringify(scaling[key])}, where ${wanted} is needed.`,
      "Download the model's config.json again.",
    );
  };
  const number = (key: string): number => {
    const value = scaling[key];
    return isPositive(value) ? value : refuse(key, "a positive number");
  };
  return {
    number,
    optional: (key) => ((scaling[key] ?? undefined) === undefined ? undefined : number(key)),
    flag: (key, fallback) => (typeof scaling[key] === "boolean" ? scaling[key] : fallback),
    list(key, length) {
      const value = scaling[key];
      return Array.isArray(value) && value.length === length && value.every(isPositive)
        ? value
        : refuse(key, `a list of ${length} positive numbers`);
    },
  };
}

/**
 * Base and scaling in either spelling: transformers 4 has `rope_theta`, `rope_scaling` and
 * `partial_rotary_factor` at the top, 5 has `rope_parameters`, which may be one for each type of layer.
 * `localTheta` is the key of the base of sliding layers, where these turn differently.
 */
export function ropeOptionsOf(
  config: JsonObject,
  localTheta?: string,
): { theta: number; scaling: JsonObject } {
  const parameters = objectOf(config["rope_parameters"]);
  const types = ["full_attention", "sliding_attention"];
  const isPerType = types.some((type) => isJsonObject(parameters[type]));
  const perType = objectOf(
    parameters[localTheta === undefined ? "full_attention" : "sliding_attention"],
  );
  const ofFlat = localTheta === undefined ? parameters : {};
  const inParameters = isPerType ? perType : ofFlat;
  // A scaling at the top is not that of the sliding layers.
  const atTop = localTheta === undefined ? objectOf(config["rope_scaling"]) : {};
  const scaling = { ...inParameters, ...atTop };
  const { partial_rotary_factor: part, original_max_position_embeddings: original } = config;
  return {
    theta: Number(scaling["rope_theta"] ?? config[localTheta ?? "rope_theta"] ?? 10_000),
    scaling: {
      original_max_position_embeddings: config["max_position_embeddings"],
      ...(part !== undefined && { partial_rotary_factor: part }),
      ...scaling,
      ...(typeof original === "number" && { original_max_position_embeddings: original }),
    },
  };
}

function objectOf(value: unknown): JsonObject {
  return isJsonObject(value) ? value : {};
}
