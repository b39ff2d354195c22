// What a run will need of the GPU, before it starts, from shapes alone.
import { byteLength } from "../gpu/tensor.ts";
import { adapterBytes } from "../model/adapter.ts";
import type { Architecture } from "../model/architecture.ts";
import { allLinears, blockLinears, type LinearShape } from "../model/linears.ts";

export interface MemoryShape {
  readonly architecture: Architecture;
  readonly targets: Parameters<typeof adapterBytes>[1];
  /** Tokens of a micro-batch. */
  readonly tokens: number;
  readonly act: "f32" | "f16";
  readonly quantization: "nf4" | "none";
  /** Bytes of one number of the embeddings and the head, as the file has them. */
  readonly tableElementBytes: number;
  readonly checkpointing: boolean;
}

export interface MemoryEstimate {
  readonly weights: number;
  /** Parameters, gradients and the optimizer's two moments. */
  readonly adapter: number;
  readonly activations: number;
  readonly total: number;
}

/** Above this, `gradient_checkpointing: auto` runs blocks twice instead of keeping their activations. */
export const AUTO_CHECKPOINTING_BYTES = 2 ** 30;

// NF4 with f32 scales per block of 64: half a byte, and four bytes for 64.
const NF4_ELEMENT_BYTES = 0.5 + 4 / 64;

export function estimateMemory(shape: MemoryShape): MemoryEstimate {
  const { architecture, targets, quantization, tableElementBytes } = shape;
  const { hidden, vocab, layers, hasTiedEmbeddings } = architecture;
  const blocks = Array.from({ length: layers }, (_, layer) =>
    Object.values(blockLinears(architecture, layer)),
  ).flat();
  const elementBytes = quantization === "nf4" ? NF4_ELEMENT_BYTES : tableElementBytes;
  const weights =
    sumOf(blocks, ({ inputs, outputs }) => inputs * outputs) * elementBytes +
    vocab * hidden * tableElementBytes * (hasTiedEmbeddings ? 1 : 2);
  const adapter = adapterBytes(allLinears(architecture), targets, true);
  const activations = activationBytes(shape);
  return { weights, adapter, activations, total: weights + adapter + activations };
}

/** Residuals kept by every block, the working set of one block, expanded weights and logits. */
function activationBytes(shape: MemoryShape): number {
  const { architecture, tokens, act, checkpointing, quantization } = shape;
  const { hidden, heads, kvHeads, headSize, intermediate, layers, vocab } = architecture;
  const element = act === "f16" ? 2 : 4;
  const attention = heads * headSize;
  const qkv = (heads + 2 * kvHeads) * headSize;
  // normed, mid_normed, qkv, attended, gate_up, hidden in the storage type; out, mid in f32.
  const block = tokens * (element * (2 * hidden + qkv + attention + 3 * intermediate) + 8 * hidden);
  // Gradients of one block while it is run backward.
  const backward = tokens * element * (2 * hidden + qkv + attention + intermediate);
  const largest = Math.max(...Object.values(blockLinears(architecture, 0)).map(sizeOf));
  const expanded = quantization === "nf4" ? largest * element : 0;
  const logits = Math.min(64 * 2 ** 20, byteLength("f32", [tokens, vocab]));
  const kept = checkpointing ? tokens * hidden * 4 * layers + block : block * layers;
  return kept + backward + expanded + logits + tokens * hidden * 12;
}

function sizeOf({ inputs, outputs }: LinearShape): number {
  return inputs * outputs;
}

function sumOf<T>(items: readonly T[], value: (item: T) => number): number {
  return items.reduce((sum, item) => sum + value(item), 0);
}
