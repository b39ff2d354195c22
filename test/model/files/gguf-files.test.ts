// A GGUF model's tensors as those of its Hugging Face original: names, order of rows, values. Files of
// whole models are compared with transformers in test/interop; here are the rules one by one.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { UserError } from "../../../src/base/error.ts";
import { decodeFloats } from "../../../src/formats/float.ts";
import { type GgufModel, openGguf, readGguf } from "../../../src/model/files/gguf-files.ts";
import {
  assemble,
  described,
  entry,
  f32,
  ggufFile,
  join,
  KIND,
  memoryFolder,
  type TensorSpec,
  text,
  u32,
  u64,
  VALUE,
} from "../../formats/gguf-file.ts";
import { counting, EMBEDDING, HIDDEN, type Metadata, open, sizes, VOCAB } from "./gguf-model.ts";

async function valuesOf(
  model: GgufModel,
  name: string,
  range?: [number, number],
): Promise<number[]> {
  const tensor = model.files.tensors.get(name);
  if (!tensor) throw new Error(`there is no ${name}`);
  const count = tensor.shape.reduce((product, size) => product * size, 1);
  const bytes = await tensor.read(...(range ?? [0, count]));
  return [...decodeFloats(bytes, tensor.dtype as "F32")];
}

describe("tensors", () => {
  // Of a head of 4 rows, 0 1 2 3 in Hugging Face's order, the file has 0 2 1 3: dimensions i and i + 2
  // are a pair, which ggml wants side by side.
  const inFile = [0, 2, 1, 3];

  test.each(["llama", "internlm2"])(
    "queries and keys of %s are put in order, whatever range is read",
    async (name) => {
      const columns = 12;
      const shape = { "attention.key_length": 4, embedding_length: columns };
      const wanted = (rows: number) => Array.from({ length: rows * columns }, (_, i) => i);
      const stored = (rows: number) =>
        Array.from({ length: rows }, (_, row) => row - (row % 4) + (inFile[row % 4] ?? 0)).flatMap(
          (row) => wanted(rows).slice(row * columns, (row + 1) * columns),
        );
      const model = await open(sizes(name, shape), {
        "blk.1.attn_q.weight": { shape: [16, columns], bytes: f32(...stored(16)) },
        "blk.1.attn_k.weight": { shape: [8, columns], bytes: f32(...stored(8)) },
        "blk.1.attn_v.weight": { shape: [8, columns], bytes: f32(...stored(8)) },
        "blk.1.attn_q.bias": {
          shape: [16],
          bytes: f32(
            ...Array.from({ length: 16 }, (_, row) => row - (row % 4) + (inFile[row % 4] ?? 0)),
          ),
        },
      });
      const layer = "model.layers.1.self_attn";
      expect(await valuesOf(model, `${layer}.q_proj.weight`)).toEqual(wanted(16));
      expect(await valuesOf(model, `${layer}.k_proj.weight`)).toEqual(wanted(8));
      expect(await valuesOf(model, `${layer}.v_proj.weight`)).toEqual(stored(8));
      expect(await valuesOf(model, `${layer}.q_proj.bias`)).toEqual(wanted(16).slice(0, 16));
      for (const range of [
        [0, 1],
        [7, 55],
        [47, 49],
        [48, 96],
        [100, 191],
        [191, 192],
      ] as [number, number][]) {
        expect(await valuesOf(model, `${layer}.q_proj.weight`, range)).toEqual(
          wanted(16).slice(...range),
        );
      }
    },
  );

  test("other architectures keep their order, and Gemma's norms lose the one that was added", async () => {
    const norm = f32(1, 0.5, 2.25, -1, 1.015625, 0);
    const weight = counting([32, HIDDEN]);
    const gemma = await open(sizes("gemma3"), {
      "blk.0.attn_q.weight": weight,
      "blk.0.attn_q_norm.weight": { shape: [6], bytes: norm },
      "blk.0.post_attention_norm.weight": { shape: [6], bytes: norm },
      "blk.0.ffn_norm.weight": { shape: [6], bytes: norm },
      "blk.0.post_ffw_norm.weight": { shape: [6], bytes: norm },
      "output_norm.weight": { shape: [6], bytes: norm },
    });
    const layer = "model.layers.0";
    expect(await valuesOf(gemma, `${layer}.self_attn.q_proj.weight`)).toEqual([
      ...decodeFloats(weight.bytes, "F32"),
    ]);
    for (const name of [
      `${layer}.self_attn.q_norm.weight`,
      `${layer}.post_attention_layernorm.weight`,
      `${layer}.pre_feedforward_layernorm.weight`,
      `${layer}.post_feedforward_layernorm.weight`,
      "model.norm.weight",
    ]) {
      expect(await valuesOf(gemma, name)).toEqual([0, -0.5, 1.25, -2, 0.015625, -1]);
    }
    expect(await valuesOf(gemma, "model.norm.weight", [2, 4])).toEqual([1.25, -2]);
  });

  test("Phi-3's fused tensors stay fused, under their names", async () => {
    const { files } = await open(sizes("phi3"), {
      "blk.0.attn_qkv.weight": counting([64, HIDDEN]),
      "blk.0.ffn_up.weight": counting([192, HIDDEN]),
      "blk.0.ffn_norm.weight": counting([HIDDEN]),
    });
    expect([...files.tensors.keys()]).toEqual([
      "model.embed_tokens.weight",
      "model.layers.0.self_attn.qkv_proj.weight",
      "model.layers.0.mlp.gate_up_proj.weight",
      "model.layers.0.post_attention_layernorm.weight",
    ]);
    expect(files.totalBytes).toBe(4 * (VOCAB * HIDDEN + 64 * HIDDEN + 192 * HIDDEN + HIDDEN));
    expect(files.path).toBe("models/m.gguf");
  });

  test("halves are passed through as they are stored", async () => {
    const bytes = Uint8Array.from({ length: 2 * VOCAB * HIDDEN }, (_, i) => i);
    const half = { shape: [VOCAB, HIDDEN], kind: KIND.BF16, bytes };
    const { config, files } = await open(sizes("llama"), { "token_embd.weight": half });
    const embedding = files.tensors.get("model.embed_tokens.weight");
    expect(embedding).toMatchObject({
      dtype: "BF16",
      place: "models/m.gguf",
      shape: [VOCAB, HIDDEN],
    });
    expect(await embedding?.read(3, 8)).toEqual(bytes.slice(6, 16));
    expect(config["torch_dtype"]).toBe("bfloat16");
  });

  test("of a quantized tensor only the blocks that a range touches are read", async () => {
    // Q8_0: a scale of 2⁻³ (f16 0x3000) and 32 codes; here code i of the tensor is i mod 100.
    const rows = 6;
    const blocks = Array.from({ length: rows }, (_, block) => [
      0x00,
      0x30,
      ...Array.from({ length: 32 }, (__, i) => (block * 32 + i) % 100),
    ]);
    const bytes = Uint8Array.from(blocks.flat());
    const file = ggufFile(sizes("llama"), {
      ...EMBEDDING,
      "blk.0.attn_v.weight": { shape: [rows, 32], kind: KIND.Q8_0, bytes },
    });
    const folder = memoryFolder("m.gguf", file);
    const model = await openGguf(folder, "m.gguf");
    const name = "model.layers.0.self_attn.v_proj.weight";
    expect(model.files.tensors.get(name)?.dtype).toBe("F32");
    expect(model.config).not.toHaveProperty("torch_dtype");
    const all = Array.from({ length: rows * 32 }, (_, i) => (i % 100) / 8);
    expect(await valuesOf(model, name)).toEqual(all);
    folder.reads.length = 0;
    expect(await valuesOf(model, name, [40, 97])).toEqual(all.slice(40, 97));
    // Values 32 to 127: three blocks of 34 bytes.
    expect(folder.reads.map(([start, end]) => end - start)).toEqual([3 * 34]);
  });
});

describe("a model is refused", () => {
  const head = { "attention.key_length": 8 };
  test.each<[string, Metadata, Record<string, TensorSpec>, RegExp]>([
    ["of another architecture", sizes("mamba"), {}, /general.architecture is "mamba"/],
    ["of no architecture", {}, {}, /general.architecture is missing/],
    ["in parts", { ...sizes("llama"), "split.count": 3 }, {}, /one of the 3 parts/],
    ["with experts", sizes("llama", { expert_count: 8 }), {}, /says llama.expert_count = "8"/],
    [
      "with a cap on scores",
      sizes("llama", { attn_logit_softcapping: 50.5 }),
      {},
      /llama.attn_logit_softcapping/,
    ],
    [
      "that looks ahead",
      sizes("llama", { "attention.causal": false }),
      {},
      /llama.attention.causal = "false"/,
    ],
    [
      "without a size",
      sizes("llama", { block_count: 0 }),
      {},
      /llama.block_count = "0", where a positive whole/,
    ],
    [
      "with a size in words",
      sizes("llama", { block_count: "two" }),
      {},
      /llama.block_count = "two"/,
    ],
    [
      "with values of another size",
      sizes("llama", { ...head, "attention.value_length": 4 }),
      {},
      /llama.attention.value_length/,
    ],
    [
      "that rotates a part of a Llama's head",
      sizes("llama", { "rope.dimension_count": 4 }),
      {},
      /llama.rope.dimension_count/,
    ],
    [
      "with an unknown scaling of RoPE",
      sizes("llama", { "rope.scaling.type": "spiral" }),
      {},
      /rope.scaling.type = "spiral"/,
    ],
    [
      "with YaRN without a factor",
      sizes("llama", { "rope.scaling.type": "yarn", "rope.scaling.factor": 0 }),
      {},
      /rope.scaling.type = "yarn"/,
    ],
    [
      "with a tensor of another kind",
      sizes("llama"),
      { "blk.0.ffn_gate_exps.weight": counting([2, 2]) },
      /tensor blk.0.ffn_gate_exps.weight, which Hone does not know in a llama/,
    ],
    [
      "with more layers than it says",
      sizes("llama"),
      { "blk.2.attn_v.weight": counting([2, 2]) },
      /tensor blk.2.attn_v.weight, .* of 2 layers/,
    ],
    [
      "in a type that is not read",
      sizes("llama"),
      { "blk.0.attn_v.weight": { shape: [1, 256], kind: KIND.Q2_K, bytes: new Uint8Array(84) } },
      /blk.0.attn_v.weight is Q2_K; Hone reads F32, F16, BF16, Q4_0/,
    ],
    [
      "with heads that do not share out the rows",
      sizes("llama"),
      { "blk.0.attn_q.weight": counting([30, 32]) },
      /q_proj.weight has 30 rows, which are no 4 heads/,
    ],
    [
      "with far too many RoPE factors",
      sizes("llama"),
      { "rope_freqs.weight": counting([5000]) },
      /rope_freqs.weight has 5000 numbers/,
    ],
  ])("%s", async (_, metadata, tensors, told) => {
    const refused = open(metadata, tensors);
    await expect(refused).rejects.toThrow(UserError);
    await expect(refused).rejects.toThrow(told);
    await expect(refused).rejects.toThrow(/models\/m\.gguf/);
  });

  test("when its file is named as a part", async () => {
    const name = "m-00001-of-00002.gguf";
    await expect(open(sizes("llama"), {}, name)).rejects.toThrow(/one of the 2 parts/);
  });

  test("without an embedding", async () => {
    const folder = memoryFolder("m.gguf", ggufFile(sizes("llama"), {}));
    await expect(openGguf(folder, "m.gguf")).rejects.toThrow(/no tensor token_embd.weight/);
  });

  test("that is a fixture of block types", async () => {
    const bytes = readFileSync(new URL("../../fixtures/gguf/blocks.gguf", import.meta.url));
    const folder = memoryFolder("m.gguf", new Uint8Array(bytes));
    await expect(openGguf(folder, "m.gguf")).rejects.toThrow(/general.architecture is "none"/);
  });
});

test("a header of many megabytes is read in growing ranges, and the tensors are not", async () => {
  // A list of half a million texts: more than the first read takes in.
  const list = new Uint8Array(4.5e6).map((_, i) => (i % 9 === 0 ? 1 : i % 9 === 8 ? 97 : 0));
  const listEntry = join(text("tokens"), u32(VALUE.list), u32(VALUE.text), u64(5e5), list);
  const bytes = assemble({
    entries: [listEntry, entry("after", 7)],
    tensors: [described("a", [1024, 8192], KIND.F32, 0)],
    data: new Uint8Array(2 ** 25),
  });
  const folder = memoryFolder("m.gguf", bytes);
  const { metadata, tensors } = await readGguf(folder, "m.gguf");
  const tokens = metadata.get("tokens") as string[];
  expect([tokens.length, tokens[0], tokens.at(-1)]).toEqual([5e5, "a", "a"]);
  expect(metadata.get("after")).toBe(7);
  expect(tensors[0]?.end).toBe(bytes.length);
  // 4 MiB, then 16, which holds the 4.5 MB of header: never the file of 38 MB.
  expect(folder.reads).toEqual([
    [0, 2 ** 22],
    [0, 2 ** 24],
  ]);
});

test("a file that is not there is named", async () => {
  const folder = memoryFolder("m.gguf", new Uint8Array(0));
  await expect(readGguf(folder, "other.gguf")).rejects.toThrow("models/other.gguf is missing");
});
