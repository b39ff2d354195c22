// What Hone writes in 4 bits, against the very files that transformers and bitsandbytes saved.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { quantizeToBnb } from "../../src/export/bnb.ts";
import { writeWeights } from "../../src/export/weights.ts";
import { openFolder } from "../../src/hosts/node.ts";
import { withBnbTensors } from "../../src/model/files/bnb-files.ts";
import { openModelFiles } from "../../src/model/files/checkpoint-files.ts";
import { temporaryFolder } from "../engine/tiny-folder.ts";
import { testGpu } from "../gpu.ts";

const gpu = await testGpu();
const fixtures = fileURLToPath(new URL("../fixtures/bnb/", import.meta.url));
const IN_4_BITS = { quantization_config: { quant_method: "bitsandbytes", load_in_4bit: true } };

const WEIGHTS = Object.entries({
  "self_attn.q_proj": [64, 64],
  "self_attn.k_proj": [32, 64],
  "self_attn.v_proj": [32, 64],
  "self_attn.o_proj": [64, 64],
  "mlp.gate_proj": [320, 64],
  "mlp.up_proj": [320, 64],
  "mlp.down_proj": [64, 320],
} as const).map(([name, shape]) => ({ name: `model.layers.0.${name}.weight`, shape }));

async function write(
  output: string,
  options: { doubleQuant: boolean; storage?: "uint8" | "bfloat16"; maxShardBytes?: number },
): Promise<number[]> {
  const { doubleQuant, storage = "uint8", maxShardBytes = 5e9 } = options;
  const before = gpu.allocatedBytes;
  const files = await openModelFiles(openFolder(`${fixtures}plain`));
  const progress: number[] = [];
  const made = await quantizeToBnb({
    gpu,
    files,
    weights: WEIGHTS,
    doubleQuant,
    storage,
    onProgress: (bytes, total) => progress.push(bytes / total),
  });
  await writeWeights({ files: made.files, dtype: undefined, maxShardBytes }, openFolder(output));
  made.free();
  expect(gpu.allocatedBytes).toBe(before);
  return progress;
}

test.each([
  { saved: "nested", doubleQuant: true },
  { saved: "unnested", doubleQuant: false },
])(
  "the file is the one that transformers saved, to the byte: $saved",
  async ({ saved, doubleQuant }) => {
    const output = temporaryFolder();
    const progress = await write(output, { doubleQuant });
    const ours = readFileSync(`${output}/model.safetensors`);
    const theirs = readFileSync(`${fixtures}${saved}/model.safetensors`);
    expect(ours.equals(theirs)).toBe(true);
    expect(progress.at(-1)).toBe(1);
    expect(progress).toEqual(progress.toSorted((a, b) => a - b));
  },
);

test("codes stored as bf16, in several files, read back as the same weights", async () => {
  const output = temporaryFolder();
  await write(output, { doubleQuant: true, storage: "bfloat16", maxShardBytes: 20_000 });
  const raw = await openModelFiles(openFolder(output));
  expect(raw.tensors.get("model.layers.0.self_attn.q_proj.weight")).toMatchObject({
    dtype: "BF16",
    shape: [1024, 1],
  });
  expect(new Set([...raw.tensors.values()].map(({ place }) => place)).size).toBeGreaterThan(2);
  const ours = await withBnbTensors(raw, IN_4_BITS, "c");
  const theirs = await withBnbTensors(
    await openModelFiles(openFolder(`${fixtures}nested`)),
    IN_4_BITS,
    "c",
  );
  for (const tensor of theirs.tensors.values()) {
    const size = tensor.shape.reduce((product, extent) => product * extent, 1);
    expect(await ours.tensors.get(tensor.name)?.read(0, size)).toEqual(await tensor.read(0, size));
  }
});
