// Every model family against transformers: logits, loss and LoRA gradients; then the ways in and out of it.
import { afterEach, describe, expect, test } from "vitest";
import { writeWeights } from "../../src/export/weights.ts";
import { readF32 } from "../../src/gpu/tensor.ts";
import { openFolder } from "../../src/hosts/node.ts";
import { openModelFiles } from "../../src/model/files/checkpoint-files.ts";
import { Generator } from "../../src/model/generate.ts";
import { buildLogitsProgram, type Model } from "../../src/model/transformer.ts";
import { freeWeights } from "../../src/model/weights.ts";
import { temporaryFolder } from "../engine/tiny-folder.ts";
import { testGpu } from "../gpu.ts";
import { batchOf, FAMILY_NAMES, loadFamily, readFamily } from "./family-models.ts";
import { relativeError, uploadBatch } from "./tiny.ts";
import { trainOnce } from "./train-once.ts";

const gpu = await testGpu();
const opened: Model[] = [];
const open: typeof loadFamily = async (...given) => {
  const model = await loadFamily(...given);
  opened.push(model);
  return model;
};
afterEach(() => {
  for (const { weights, adapter, workspace } of opened.splice(0)) {
    freeWeights(gpu, weights);
    adapter?.free();
    workspace.free();
  }
});

// f32 sums of some hundred terms through two or three blocks; f16 keeps 11 bits of what it stores.
const TOLERANCE = { f32: 1e-4, f16: 3e-2 } as const;
const ACTS = gpu.hasF16 ? (["f32", "f16"] as const) : (["f32"] as const);

test("there is a fixture for every family", () => {
  expect(FAMILY_NAMES).toEqual([
    "gemma3",
    "internlm2",
    "llama-biased",
    "mistral",
    "phi3-long",
    "phi3-short",
    "qwen2",
    "qwen3",
  ]);
});

test("Phi's factors follow the longest sequence, not the rows of the table", async () => {
  const fixture = readFamily("phi3-short");
  const { batch } = fixture;
  // 40 positions are past the original context of 32; no sequence is.
  const model = await open(gpu, fixture, { positions: 40, contextTokens: batch.tokens });
  const { program, logits } = await buildLogitsProgram(model, uploadBatch(gpu, batch));
  program.run();
  expect(relativeError(await readF32(gpu, logits), fixture.logits)).toBeLessThan(1e-4);
});

describe.each(FAMILY_NAMES)("%s", (name) => {
  const fixture = readFamily(name);
  const { batch } = fixture;

  test.each(ACTS)("logits, loss and gradients in %s as transformers'", async (act) => {
    const model = await open(gpu, fixture, { act, positions: batch.tokens });
    const { program, logits } = await buildLogitsProgram(model, uploadBatch(gpu, batch));
    program.run();
    const error = relativeError(await readF32(gpu, logits), fixture.logits);
    expect(error).toBeLessThan(TOLERANCE[act]);

    for (const checkpointing of [false, true]) {
      const { loss, gradients } = await trainOnce(
        model,
        batch,
        checkpointing,
        act === "f16" ? 256 : 1,
      );
      expect(Math.abs(loss / fixture.loss - 1)).toBeLessThan(TOLERANCE[act]);
      expect([...gradients.keys()].toSorted()).toEqual([...fixture.gradients.keys()].toSorted());
      for (const [path, { a, b }] of gradients) {
        const expected = fixture.gradients.get(path)!;
        expect(relativeError(a, expected.a), `${path} A`).toBeLessThan(TOLERANCE[act]);
        expect(relativeError(b, expected.b), `${path} B`).toBeLessThan(TOLERANCE[act]);
      }
    }
  });

  test("generation over the cache says what the whole sequence says", async () => {
    // Longer than a chunk of the prompt and than every window.
    const prompt = Array.from({ length: 41 }, (_, i) => (5 * i * i + i + 2) % 101);
    const capacity = 48;
    const model = await open(gpu, fixture, { positions: capacity });
    const generator = await Generator.create(model, capacity);
    const greedy = { temperature: 0, topK: 0, topP: 1, repetitionPenalty: 1, seed: 1 };
    const options = { ...greedy, maxNewTokens: 4, endIds: [] };
    const { ids } = await generator.generate(prompt, options);
    generator.free();
    expect(ids).toHaveLength(4);

    const whole = [...prompt, ...ids];
    const { program, logits } = await buildLogitsProgram(
      model,
      uploadBatch(gpu, batchOf(whole, [whole.length])),
    );
    program.run();
    const values = await readF32(gpu, logits);
    const ranked = ids.map((_, i) => {
      const row = prompt.length - 1 + i;
      const own = values.subarray(row * 101, (row + 1) * 101);
      return own.indexOf(Math.max(...own));
    });
    expect(ids).toEqual(ranked);
  });

  test("merged weights, written and read again, give the adapted model's logits", async () => {
    const output = openFolder(temporaryFolder());
    await writeWeights(
      {
        files: fixture.files,
        dtype: undefined,
        maxShardBytes: 100_000,
        merge: {
          gpu,
          targets: fixture.targets,
          matrices: fixture.matrices,
          rounded: new Set(),
          doubleQuant: true,
        },
      },
      output,
    );
    const files = await openModelFiles(output);
    expect([...files.tensors.keys()].toSorted()).toEqual(
      [...fixture.files.tensors.keys()].toSorted(),
    );
    const model = await open(gpu, fixture, { positions: batch.tokens, files, adapted: false });
    const { program, logits } = await buildLogitsProgram(model, uploadBatch(gpu, batch));
    program.run();
    const error = relativeError(await readF32(gpu, logits), fixture.logits);
    expect(error).toBeLessThan(TOLERANCE.f32);
  });

  test("a base in NF4 gives gradients for every matrix", async () => {
    const model = await open(gpu, fixture, { quantization: "nf4", positions: batch.tokens });
    const { loss, gradients } = await trainOnce(model, batch, true, 1);
    expect(Math.abs(loss - fixture.loss)).toBeLessThan(1.5);
    for (const [path, { a, b }] of gradients) {
      expect(a.some((value) => value !== 0) && b.some((value) => value !== 0), path).toBe(true);
      expect([...a, ...b].every(Number.isFinite), path).toBe(true);
    }
  });
});
