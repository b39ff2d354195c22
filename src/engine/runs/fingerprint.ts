// Fingerprints of what a run learns from, so that a part of it is not resumed on something else.
//
// They are of what is read, not of files: a model sharded otherwise, or data in another file, is the same.
import type { EncodedExample, ExampleList } from "../../data/encode.ts";
import type { Host } from "../../engine.ts";
import { isFloatTensor } from "../../model/files/checkpoint-files.ts";
import type { ModelFolder } from "../model-folder.ts";

/** SHA-256 as lower-case hex. */
export interface Fingerprints {
  /** Of every tensor's name, type and shape, and of some of its numbers. */
  readonly weights: string;
  /** Of the model's config.json, but for what changes no number. */
  readonly config: string;
  /** Of the token ids of all examples in order, and which of them are learned. */
  readonly data: string;
}

/** As long as any: for the size of a checkpoint that is not there yet. */
export const NO_FINGERPRINTS: Fingerprints = {
  weights: "0".repeat(64),
  config: "0".repeat(64),
  data: "0".repeat(64),
};

// From the middle of each tensor, on a multiple: whole blocks of NF4 and of GGUF's types.
const SAMPLE_ELEMENTS = 256;

// Keys of config.json that say where it came from, or what is done with a model that is trained already.
const IDLE_KEYS: ReadonlySet<string> = new Set([
  "_name_or_path",
  "architectures",
  "auto_map",
  "bos_token_id",
  "dtype",
  "eos_token_id",
  "pad_token_id",
  "torch_dtype",
  "transformers_version",
  "use_cache",
]);

/** Reads a few hundred bytes of each tensor, however large the model is. */
export async function fingerprintModel(
  { files, source }: Pick<ModelFolder, "files" | "source">,
  sha256: Host["sha256"],
): Promise<Pick<Fingerprints, "weights" | "config">> {
  const lines: string[] = [];
  for (const tensor of files.tensors.values()) {
    const { name, dtype, shape } = tensor;
    const count = shape.reduce((product, size) => product * size, 1);
    const start = Math.floor(count / 2 / SAMPLE_ELEMENTS) * SAMPLE_ELEMENTS;
    const sample = isFloatTensor(tensor)
      ? await tensor.read(start, Math.min(start + SAMPLE_ELEMENTS, count))
      : [];
    lines.push(`${name} ${dtype} ${shape.join("x")} ${sample.join()}`);
  }
  const config = Object.entries(source.config).filter(([key]) => !IDLE_KEYS.has(key));
  return {
    weights: await sha256(bytesOf(lines.toSorted().join("\n"))),
    config: await sha256(bytesOf(JSON.stringify(config.toSorted(byKey)))),
  };
}

const BLOCK_WORDS = 2 ** 18;

/** Hashes block by block: takes 1 MiB beside the examples. */
export async function fingerprintExamples(
  examples: ExampleList,
  sha256: Host["sha256"],
): Promise<string> {
  const hashes: string[] = [];
  const block = new Uint32Array(BLOCK_WORDS);
  let used = 0;
  const end = async () => {
    hashes.push(await sha256(new Uint8Array(block.buffer, 0, used * block.BYTES_PER_ELEMENT)));
    used = 0;
  };
  for (let index = 0; index < examples.length; index++) {
    const { inputIds, labels } = examples.at(index) as EncodedExample;
    if (used === BLOCK_WORDS) await end();
    block[used++] = inputIds.length;
    for (let i = 0; i < inputIds.length; i++) {
      if (used === BLOCK_WORDS) await end();
      const isLearned = (labels[i] ?? -1) >= 0;
      block[used++] = 2 * (inputIds[i] ?? 0) + (isLearned ? 1 : 0);
    }
  }
  await end();
  return sha256(bytesOf(hashes.join("\n")));
}

function byKey([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1;
}

function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}
