// The names of an adapter's tensors in a file: PEFT's, and their forms elsewhere.
import { UserError } from "../base/error.ts";

const USE_PLAIN = "Use a plain LoRA adapter, or convert this one with PEFT.";

export type AdapterPart = "lora_A" | "lora_B";

/** The name under which PEFT saves a tensor: A is [rank, inputs], B is [outputs, rank]. */
export function adapterTensorName(modulePath: string, part: AdapterPart): string {
  return `base_model.model.${modulePath}.${part}.weight`;
}

/**
 * The base's tensor that a tensor of an adapter file may repeat, or undefined for one of the adapter's
 * own. PEFT saves embeddings and head along if one of them is a target (`save_embedding_layers`).
 */
export function baseTensorOf(name: string): string | undefined {
  if (/\.lora_[^.]+(\.|$)/.test(name)) return undefined;
  return name.replace(/^(?:llm\.)?(?:base_model\.model\.)?/, "").replace(".base_layer.", ".");
}

/** The tensors of one adapted module, by their names in the file. */
export interface AdapterPair {
  modulePath: string;
  lora_A: string;
  lora_B: string;
}

/**
 * Pairs up the tensor names of an adapter file. Accepts PEFT's names, those of a live model (with
 * the adapter's own name, `.default.`), and those of XTuner (`llm.` in front). Refuses a file with
 * anything but whole pairs.
 */
export function pairAdapterTensors(names: Iterable<string>, place: string): AdapterPair[] {
  const pairs = new Map<string, { lora_A?: string; lora_B?: string }>();
  for (const name of names) {
    const { modulePath, part } = parseAdapterTensorName(name, place);
    const pair = pairs.get(modulePath) ?? {};
    if (pair[part] !== undefined) {
      throw new UserError(
        `${place} has ${part} of ${modulePath} twice: "${pair[part]}" and "${name}".`,
        "Save one adapter per file.",
      );
    }
    pair[part] = name;
    pairs.set(modulePath, pair);
  }
  if (pairs.size === 0) {
    throw new UserError(`${place} holds no tensors.`, "Choose the adapter's own safetensors file.");
  }
  return [...pairs].map(([modulePath, { lora_A, lora_B }]) => {
    if (lora_A === undefined || lora_B === undefined) {
      const missing = lora_A === undefined ? "lora_A" : "lora_B";
      throw new UserError(
        `${place} has no ${missing} for ${modulePath}.`,
        "Export the adapter again.",
      );
    }
    return { modulePath, lora_A, lora_B };
  });
}

function parseAdapterTensorName(
  name: string,
  place: string,
): { modulePath: string; part: AdapterPart } {
  const match =
    /^(?:llm\.)?(?:base_model\.model\.)?(?<path>.+)\.(?<part>lora_[AB])(?:\.[^.]+)?\.weight$/.exec(
      name,
    );
  const { path, part } = match?.groups ?? {};
  if (path === undefined || part === undefined) {
    const kind = name.includes("lora_embedding")
      ? "an adapted embedding"
      : name.includes("lora_magnitude")
        ? "a DoRA magnitude"
        : "no LoRA matrix";
    throw new UserError(
      `${place}: tensor "${name}" is ${kind}, which Hone does not read.`,
      USE_PLAIN,
    );
  }
  return { modulePath: path, part: part as AdapterPart };
}
