// InternLM2 in the form of a Llama: the same logits, with the adapter split along.
import { expect, test } from "vitest";
import { asLlama, llamaAdapter, llamaConfig, llamaFiles } from "../../src/export/llama-form.ts";
import { readF32 } from "../../src/gpu/tensor.ts";
import { readArchitecture } from "../../src/model/architecture.ts";
import { buildLogitsProgram } from "../../src/model/transformer.ts";
import { testGpu } from "../gpu.ts";
import { architectureOf, loadFamily, readFamily } from "../model/family-models.ts";
import { relativeError, uploadBatch } from "../model/tiny.ts";

const gpu = await testGpu();
const internlm2 = readFamily("internlm2");
const { batch } = internlm2;

test("weights and adapter of InternLM2 give the same logits as a Llama's", async () => {
  const architecture = architectureOf(internlm2);
  const config = llamaConfig(internlm2.config) as typeof internlm2.config;
  expect(config).toMatchObject({ model_type: "llama", attention_bias: false });
  const { targets, matrices } = llamaAdapter(
    architecture,
    internlm2.targets,
    internlm2.matrices,
    "internlm2",
  );
  // wqkv, wo, w1, w3 and w2 become seven modules in each of two layers.
  expect(targets).toHaveLength(14);
  const files = llamaFiles(internlm2.files, architecture);
  expect(files.tensors.size).toBe(3 + 2 * 9);

  const llama = { ...internlm2, config, files, targets, matrices };
  const model = await loadFamily(gpu, llama, { positions: batch.tokens });
  expect(model.architecture.family.modelType).toBe("llama");
  const { program, logits } = await buildLogitsProgram(model, uploadBatch(gpu, batch));
  program.run();
  expect(relativeError(await readF32(gpu, logits), internlm2.logits)).toBeLessThan(1e-4);
});

test("a tensor taken apart is the same read in any pieces", async () => {
  const files = llamaFiles(internlm2.files, architectureOf(internlm2));
  const query = files.tensors.get("model.layers.1.self_attn.q_proj.weight")!;
  expect(query.shape).toEqual([128, 128]);
  const whole = await query.read(0, 128 * 128);
  const pieces: number[] = [];
  for (let start = 0; start < 128 * 128; start += 999) {
    pieces.push(...(await query.read(start, Math.min(start + 999, 128 * 128))));
  }
  expect(Uint8Array.from(pieces)).toEqual(whole);
});

test("another family is refused by its name", () => {
  const qwen = readArchitecture(readFamily("qwen3").config, "qwen/config.json");
  expect(() => asLlama(qwen, "qwen/config.json")).toThrow(
    'qwen/config.json: model_type is "qwen3"; only internlm2',
  );
});
