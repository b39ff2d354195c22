// The frequencies of rotary embedding, with the scaling that a config asks for.
import { UserError } from "../base/error.ts";
import { isJsonObject, type JsonObject } from "../formats/json.ts";

/**
 * Radians per position for each pair of a head, [headSize / 2], in f64. Understands the default,
 * `linear` and `llama3` (transformers `modeling_rope_utils.py`), in the spelling of transformers 4
 * (`rope_theta`, `rope_scaling`) and of 5 (`rope_parameters`).
 */
export function inverseFrequencies(config: JsonObject, headSize: number, place: string): number[] {
  const scaling = config["rope_scaling"] ?? config["rope_parameters"];
  const options = isJsonObject(scaling) ? scaling : {};
  const theta = Number(config["rope_theta"] ?? options["rope_theta"] ?? 10_000);
  const plain = Array.from({ length: headSize / 2 }, (_, i) => theta ** ((-2 * i) / headSize));

  const type = options["rope_type"] ?? options["type"] ?? "default";
  const number = (key: string): number => {
    const value = options[key];
    if (typeof value === "number" && value > 0) return value;
    throw new UserError(
      `${place}: rope_scaling of type ${JSON.stringify(type)} has ${key} ${JSON.stringify(value)}, where a positive number is needed.`,
      "Download the model's config.json again.",
    );
  };
  if (type === "default") return plain;
  if (type === "linear") return plain.map((frequency) => frequency / number("factor"));
  if (type === "llama3") {
    const factor = number("factor");
    const low = number("low_freq_factor");
    const high = number("high_freq_factor");
    const original = number("original_max_position_embeddings");
    return plain.map((frequency) => {
      const wavelength = (2 * Math.PI) / frequency;
      if (wavelength < original / high) return frequency;
      if (wavelength > original / low) return frequency / factor;
      const smooth = (original / wavelength - low) / (high - low);
      return frequency * ((1 - smooth) / factor + smooth);
    });
  }
  throw new UserError(
    `${place}: rope_scaling is of type ${JSON.stringify(type)}, which Hone does not support.`,
    "Choose a model with the default, linear or llama3 scaling.",
  );
}
