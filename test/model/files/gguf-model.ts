// Small GGUF models for tests: metadata and tensors of any kind, opened from memory.
import { type GgufModel, openGguf } from "../../../src/model/files/gguf-files.ts";
import {
  f32,
  ggufFile,
  memoryFolder,
  type MetadataValue,
  type TensorSpec,
} from "../../formats/gguf-file.ts";

export type Metadata = Record<string, MetadataValue>;

export const HIDDEN = 32;
export const VOCAB = 5;

/** The metadata of a small model: two layers, 4 heads and 2 key heads of 8. */
export function sizes(name: string, more: Metadata = {}): Metadata {
  const metadata: Metadata = { "general.architecture": name };
  const keys: Metadata = {
    block_count: 2,
    context_length: 4096,
    embedding_length: HIDDEN,
    feed_forward_length: 96,
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
    "attention.layer_norm_rms_epsilon": 1e-5,
    ...more,
  };
  for (const [key, value] of Object.entries(keys)) {
    metadata[key.startsWith("tokenizer.") || key.includes("split.") ? key : `${name}.${key}`] =
      value;
  }
  return metadata;
}

/** Numbers that tell where they stood: 0, 1, 2, … */
export function counting(shape: readonly number[]): TensorSpec {
  const count = shape.reduce((product, size) => product * size, 1);
  return { shape, bytes: f32(...Array.from({ length: count }, (_, i) => i)) };
}

export const EMBEDDING = { "token_embd.weight": counting([VOCAB, HIDDEN]) };

export function open(
  metadata: Metadata,
  tensors: Record<string, TensorSpec> = {},
  file = "m.gguf",
): Promise<GgufModel> {
  return openGguf(memoryFolder(file, ggufFile(metadata, { ...EMBEDDING, ...tensors })), file);
}
