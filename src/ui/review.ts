// What follows from model, data and recipe without asking the engine: what blocks a run, doubts, a rough time.
import { factsOf } from "./recipe.ts";
import type { StoredData, StoredModel, TrainConfig } from "../services/api.ts";

export type Blocker = "gpu" | "model" | "data" | "recipe" | "elsewhere" | "running";

export type Doubt =
  | { readonly kind: "allHeldOut"; readonly share: number; readonly rows: number }
  | { readonly kind: "fewHeldOut"; readonly count: number }
  | { readonly kind: "longRows"; readonly length: number; readonly context: number };

// Of fewer rows the mean loss is an accident.
const FEW_ROWS = 5;

/** What is allowed and yet hardly meant. */
export function findDoubts(
  config: TrainConfig,
  model: StoredModel | undefined,
  data: readonly StoredData[],
): Doubt[] {
  const { eval_split: share, max_length: length } = config;
  const rows = countRows(data);
  const heldOut = Math.ceil(share * rows);
  const context = model?.facts?.contextTokens ?? Number.POSITIVE_INFINITY;
  const doubts: Doubt[] = [];
  if (share > 0 && rows > 0 && heldOut >= rows) doubts.push({ kind: "allHeldOut", share, rows });
  else if (heldOut > 0 && heldOut < FEW_ROWS) doubts.push({ kind: "fewHeldOut", count: heldOut });
  if (length > context) doubts.push({ kind: "longRows", length, context });
  return doubts;
}

export function countRows(data: readonly StoredData[]): number {
  return data.reduce((sum, { rows }) => sum + rows, 0);
}

export type RoughTime = "seconds" | "minutes" | "halfHour" | "hours" | "days";

// What a middling GPU and a processor manage of the operations that they could.
const GPU_FLOPS = 1.5e12;
const SOFTWARE_FLOPS = 1e9;
const START_SECONDS = 5;

/** How long a run takes, in words only: the machine's speed is not known, and may be ten times another. */
export function guessTime(
  config: TrainConfig,
  model: StoredModel,
  data: readonly StoredData[],
  isSoftware: boolean,
): RoughTime {
  const parameters = model.facts?.parameters ?? 1e9;
  // Forward, backward to the inputs, and the blocks once more.
  const operations = 6 * parameters * countTokens(config, model, data);
  const seconds = START_SECONDS + operations / (isSoftware ? SOFTWARE_FLOPS : GPU_FLOPS);
  if (seconds < 60) return "seconds";
  if (seconds < 600) return "minutes";
  if (seconds < 3600) return "halfHour";
  return seconds < 12 * 3600 ? "hours" : "days";
}

function countTokens(config: TrainConfig, model: StoredModel, data: readonly StoredData[]): number {
  if (config.max_steps > 0) {
    return config.max_steps * config.max_length * config.batch_size * config.accumulative_counts;
  }
  const { rows = 0, tokensPerRow = 0 } = factsOf(model, data);
  return config.max_epochs * rows * tokensPerRow;
}

/** Bytes that the run's checkpoints take: while a new one is written, the oldest is still there. */
export function checkpointSpace(config: TrainConfig, checkpointBytes: number): number {
  const kept = config.save_total_limit;
  return kept < 0 ? checkpointBytes : (kept + 1) * checkpointBytes;
}

/** ["lora.r=8", "batch_size=1, accumulative_counts=4"] → paths and values that `set` takes. */
export function readSettingTexts(settings: readonly string[]): (readonly [string, unknown])[] {
  return settings
    .flatMap((text) => text.split(/,\s*(?=[\w.]+\s*[=:])/))
    .map((text) => {
      const [, path = "", value = ""] = /^\s*([\w.]+)\s*[=:]\s*(.*)$/.exec(text) ?? [];
      return [path, readValue(value)] as const;
    });
}

function readValue(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text; // a word
  }
}

/** "Seedling · identity", or with a number after it where a run of that name is there. */
export function freeName(wanted: string, names: readonly string[]): string {
  if (!names.includes(wanted)) return wanted;
  let number = 2;
  while (names.includes(`${wanted} ${number}`)) number++;
  return `${wanted} ${number}`;
}
