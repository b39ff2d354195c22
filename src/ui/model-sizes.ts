// What typical models take of the GPU, by a rule of thumb: before one is chosen there are no files to lay out.
//
// The Review screen counts a real run instead. Against such counts the rule is off by a tenth at most, from
// 135M parameters on (test/ui/model-sizes.test.ts). It is for the balanced recipe, 512 tokens and rank 16, with blocks run twice.
import type { Verdict } from "../services/api.ts";

/** A decoder as far as its size goes. */
export interface ModelShape {
  readonly name: string;
  readonly hidden: number;
  /** Inner width of the MLP. */
  readonly inner: number;
  readonly layers: number;
  /** Width of all query heads together, and of all key heads. */
  readonly queries: number;
  readonly keys: number;
  readonly vocab: number;
  readonly isTied: boolean;
}

export const TYPICAL_MODELS: readonly ModelShape[] = [
  shape("Seedling 1M", [128, 384, 4], [128, 64], 2304, true),
  shape("SmolLM2 135M", [576, 1536, 30], [576, 192], 49_152, true),
  shape("Qwen2.5 0.5B", [896, 4864, 24], [896, 128], 151_936, true),
  shape("Llama 3.2 1B", [2048, 8192, 16], [2048, 512], 128_256, true),
  shape("InternLM2 1.8B", [2048, 8192, 24], [2048, 1024], 92_544, false),
  shape("Llama 3.2 3B", [3072, 8192, 28], [3072, 1024], 128_256, true),
  shape("Llama 3.1 8B", [4096, 14_336, 32], [4096, 1024], 128_256, false),
];

export const RULE = { tokens: 512, rank: 16, answerTokens: 256 } as const;

/** Half a byte for a weight, and the scales of its block of 64, themselves in 8 bits. */
const NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256);
// Logits of so many rows are there at a time, or as many as this takes.
const LOSS_ROWS = 512;
const LOSS_BYTES = 64 * 2 ** 20;
const STAGING_BYTES = 16 * 2 ** 20;

/** Bytes of GPU memory that fine-tuning such a model takes, about. */
export function estimateBytes(model: ModelShape, hasF16: boolean): number {
  const { hidden, inner, layers, queries, keys, vocab } = model;
  const { tokens, rank, answerTokens } = RULE;
  const actBytes = hasF16 ? 2 : 4;
  const mats: readonly (readonly [number, number])[] = [
    [hidden, queries],
    [hidden, keys],
    [hidden, keys],
    [queries, hidden],
    [hidden, inner],
    [hidden, inner],
    [inner, hidden],
  ];
  const weights = layers * sum(mats, ([inputs, outputs]) => inputs * outputs) * NF4_BYTES;
  const embeddings = vocab * hidden * 2 * (model.isTied ? 1 : 2);
  // A parameter, its gradient and AdamW's two moments, four bytes each.
  const lora = layers * sum(mats, ([inputs, outputs]) => inputs + outputs) * rank * 16;
  // Each block's input is kept; one block at a time has all of its values, and its largest weight unpacked.
  const kept = tokens * layers * hidden * 4;
  const block = (tokens * (3.5 * inner + 7 * hidden) + 1.25 * inner * hidden) * actBytes;
  const lossRows = Math.max(LOSS_ROWS, LOSS_BYTES / (vocab * 4));
  const loss = Math.min(lossRows, tokens) * vocab * 4;
  const answers = (tokens + answerTokens) * layers * 2 * keys * actBytes;
  const staging = Math.min(STAGING_BYTES, embeddings);
  return weights + embeddings + lora + kept + block + loss + answers + staging;
}

/** From this share of the budget on, other programs and the screen leave little room. */
const TIGHT_SHARE = 0.85;

export function verdictOf(bytes: number, budgetBytes: number): Verdict {
  if (bytes > budgetBytes) return "too-big";
  return bytes > TIGHT_SHARE * budgetBytes ? "tight" : "fits";
}

/** What is known of the memory: browsers tell little, so that sites cannot tell machines apart. */
export interface MemoryHints {
  /** navigator.deviceMemory in GiB: rounded and capped by Chrome, and not told by Safari and Firefox. */
  readonly deviceMemoryGib: number | undefined;
  readonly isPhone: boolean;
  readonly maxBufferBytes: number;
}

const GIB = 2 ** 30;
// Much memory in the machine says nothing of the card's own.
const MOST_GUESSED_GIB = 6;

/**
 * GPU memory that a run may take, guessed low: half of the machine's memory as far as it is told, 6 GiB at
 * most, and a gibibyte on a phone, where tabs that take more are closed.
 */
export function guessBudgetBytes(hints: MemoryHints): number {
  const { deviceMemoryGib = 8, isPhone, maxBufferBytes } = hints;
  // An adapter that allows no more than WebGPU's least is an old or a small one.
  if (isPhone || maxBufferBytes <= 2 ** 28) return Math.min(1, deviceMemoryGib / 2) * GIB;
  return Math.min(MOST_GUESSED_GIB, deviceMemoryGib / 2) * GIB;
}

function shape(
  name: string,
  [hidden, inner, layers]: readonly [number, number, number],
  [queries, keys]: readonly [number, number],
  vocab: number,
  isTied: boolean,
): ModelShape {
  return { name, hidden, inner, layers, queries, keys, vocab, isTied };
}

function sum<T>(items: readonly T[], amount: (item: T) => number): number {
  return items.reduce((total, item) => total + amount(item), 0);
}
