// GGUF files written by Python's gguf, in llama.cpp's layout: what Hone reads from them is the model they were
// made of, for every type of block and every architecture; and a real file, of llama.cpp's own making.
import { createHash } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { encodeSafetensors } from "../../src/formats/safetensors.ts";
import { openFileAsFolder } from "../../src/hosts/node.ts";
import type { SourceTensor } from "../../src/model/files/checkpoint-files.ts";
import { openGguf } from "../../src/model/files/gguf-files.ts";
import { python, smolLm2Gguf, workDirectory } from "./python.ts";
import { score, short } from "./scorecard.ts";

const CHECK = "GGUF bases";

/** What gguf_models.py says of our reading. */
interface Judgement {
  types: Record<string, { weights: number; different: number }>;
  models: Record<
    string,
    {
      kind: string;
      modelType: [theirs: string, ours: string];
      tensors: number;
      different: string[];
      logits: number;
      config: Record<string, [theirs: unknown, ours: unknown]>;
    }
  >;
}

const TYPES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"];
const MODELS = [
  "llama",
  "llama with biases and heads of 32",
  "llama 3.2",
  "mistral",
  "linear scaling",
  "internlm2",
  "qwen2",
  "qwen2 with yarn",
  "qwen3",
  "gemma3",
  "phi3",
  "phi 4 mini",
];

let judged: Judgement;

beforeAll(async () => {
  const folder = await workDirectory("gguf");
  await python("gguf_models", ["write", folder]);
  for (const type of TYPES) {
    const { files } = await open(join(folder, `${type}.gguf`));
    const tensor = files.tensors.get("model.layers.0.mlp.down_proj.weight");
    if (!tensor) throw new Error(`${type} was not read`);
    // In pieces that begin and end inside blocks.
    await writeFile(join(folder, `${type}.ours`), await readAll(tensor, 100_003));
  }
  for (const model of MODELS) {
    const { config, files } = await open(join(folder, model, "model.gguf"));
    const tensors = new Map();
    for (const [name, tensor] of files.tensors) {
      const { dtype, shape } = tensor;
      tensors.set(name, { dtype, shape, bytes: await readAll(tensor, 1013) });
    }
    const ours = join(folder, model, "ours");
    await mkdir(ours);
    await writeFile(join(ours, "config.json"), JSON.stringify(config, null, 2));
    await writeFile(join(ours, "model.safetensors"), encodeSafetensors(tensors, { format: "pt" }));
  }
  judged = JSON.parse(await python("gguf_models", ["judge", folder])) as Judgement;
});

function open(path: string): ReturnType<typeof openGguf> {
  const folder = openFileAsFolder(path);
  return openGguf(folder, path.slice(folder.path.length + 1));
}

function elementsOf({ shape }: SourceTensor): number {
  return shape.reduce((product, size) => product * size, 1);
}

async function readAll(tensor: SourceTensor, piece: number): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  const count = elementsOf(tensor);
  for (let start = 0; start < count; start += piece) {
    pieces.push(await tensor.read(start, Math.min(start + piece, count)));
  }
  return Buffer.concat(pieces);
}

test("whatever Python wrote was judged", () => {
  expect(Object.keys(judged.types)).toEqual(TYPES);
  expect(Object.keys(judged.models)).toEqual(MODELS);
});

describe("blocks", () => {
  test.each(TYPES)("%s is unpacked to the numbers of gguf.quants", (type) => {
    const { weights, different } = judged.types[type] ?? { weights: 0, different: NaN };
    score({
      check: CHECK,
      subject: `${type}, ${weights / 2 ** 20} M random weights`,
      required: "f32 equal to gguf.quants.dequantize",
      measured: `${different} differ`,
      holds: different === 0,
    });
    expect(different).toBe(0);
    expect(weights).toBe(2 ** 20);
  });
});

describe("models", () => {
  test.each(MODELS)("%s has the weights, the config and the logits that it was made of", (name) => {
    const model = judged.models[name];
    if (!model) throw new Error(`${name} was not judged`);
    const { different, logits, tensors, modelType, kind, config } = model;
    const keys = Object.keys(config);
    score({
      check: CHECK,
      subject: `tiny ${name}, ${kind}`,
      required: "weights and config equal, so that transformers gives equal logits",
      measured: `${different.length} of ${tensors} tensors and ${keys.length} keys differ, error ${short(logits)}`,
      holds: different.length === 0 && keys.length === 0 && logits === 0,
    });
    expect(different).toEqual([]);
    expect(logits).toBe(0);
    expect(modelType[1]).toBe(modelType[0]);
    expect(config).toEqual({});
  });
});

test("SmolLM2's own GGUF file has the weights that gguf reads from it", async () => {
  const path = await smolLm2Gguf();
  const folder = await workDirectory("smollm2");
  const { files } = await open(path);
  const hashes: string[] = [];
  for (const tensor of files.tensors.values()) {
    const hash = createHash("sha256");
    const count = elementsOf(tensor);
    for (let start = 0; start < count; start += 4_000_037) {
      hash.update(await tensor.read(start, Math.min(start + 4_000_037, count)));
    }
    hashes.push(hash.digest("hex"));
  }
  await writeFile(join(folder, "hashes.json"), JSON.stringify(hashes));
  const { weights, tensors, different } = JSON.parse(
    await python("gguf_models", ["real", path, join(folder, "hashes.json")]),
  ) as { weights: number; tensors: number; different: string[] };
  score({
    check: CHECK,
    subject: "SmolLM2-135M-Instruct, Q4_1 and Q8_0",
    required: "f32 equal to gguf.quants.dequantize, queries and keys in order",
    measured: `${different.length} of ${tensors} tensors differ (${(weights / 1e6).toFixed(1)} M weights)`,
    holds: different.length === 0,
  });
  expect(different).toEqual([]);
  expect(tensors).toBe(files.tensors.size);
});
