// A whole model against PyTorch: logits, loss and the gradient of every LoRA matrix.
import { expect, test } from "vitest";
import { adapterTensorName } from "../../src/formats/peft-tensors.ts";
import { readF32, write } from "../../src/gpu/tensor.ts";
import { firstOptimizerState } from "../../src/kernels/grad-norm.ts";
import { spread } from "../../src/model/batch.ts";
import { buildEvaluateProgram, buildLogitsProgram } from "../../src/model/transformer.ts";
import { testGpu } from "../gpu.ts";
import { readTensors } from "../reference/safetensors.ts";
import {
  type BatchJson,
  loadTiny,
  microBatchOf,
  readFixture,
  relativeError,
  uploadBatch,
} from "./tiny.ts";
import { trainOnce } from "./train-once.ts";

const gpu = await testGpu();
const batch = microBatchOf(readFixture("inputs.json") as BatchJson);
const { losses } = readFixture("expected/losses.json") as { losses: Record<string, number> };

// f32 sums of a few hundred terms through two blocks; f16 keeps 11 bits of what it stores.
const TOLERANCE = { f32: 1e-4, f16: 2e-2 } as const;

const MODELS = ["tiny-llama", "tiny-llama3"] as const;
const BASES = ["none", "nf4"] as const;
const ACTS = gpu.hasF16 ? (["f32", "f16"] as const) : (["f32"] as const);
const CASES = MODELS.flatMap((name) =>
  BASES.flatMap((base) => ACTS.map((act) => ({ name, base, act }))),
);

test.each(CASES)("$name, base $base, in $act: logits as PyTorch's", async ({ name, base, act }) => {
  const model = await loadTiny(gpu, name, { quantization: base, act, adapter: `${name}-adapter` });
  const { program, logits } = await buildLogitsProgram(model, uploadBatch(gpu, batch));
  program.run();
  const expected = readTensors(`expected/${name}-${base}-logits.safetensors`).get("logits")!;
  const error = relativeError(await readF32(gpu, logits), expected.values);
  expect(error).toBeLessThan(TOLERANCE[act]);
});

test.each(
  CASES.flatMap((item) => [
    { ...item, checkpointing: false },
    { ...item, checkpointing: true },
  ]),
)(
  "$name, base $base, in $act, checkpointing $checkpointing: loss and gradients as PyTorch's",
  async ({ name, base, act, checkpointing }) => {
    const adapterPath = `${name}-adapter`;
    const model = await loadTiny(gpu, name, { quantization: base, act, adapter: adapterPath });
    const { loss, gradients } = await trainOnce(
      model,
      batch,
      checkpointing,
      act === "f16" ? 1024 : 1,
    );
    expect(Math.abs(loss - losses[`${name}-${base}`]!)).toBeLessThan(TOLERANCE[act] * loss);

    const expected = readTensors(`expected/${name}-${base}-gradients.safetensors`);
    const errors = [...gradients].flatMap(([path, { a, b }]) => [
      { name: adapterTensorName(path, "lora_A"), values: a },
      { name: adapterTensorName(path, "lora_B"), values: b },
    ]);
    expect(errors.length).toBe(expected.size);
    for (const { name: tensor, values } of errors) {
      const error = relativeError(values, expected.get(tensor)!.values);
      expect(error, tensor).toBeLessThan(TOLERANCE[act]);
    }
  },
);

test("evaluation gives the training loss, and counts the targets ranked first", async () => {
  const model = await loadTiny(gpu, "tiny-llama", {
    quantization: "nf4",
    act: "f32",
    adapter: "tiny-llama-adapter",
  });
  const state = gpu.allocate("state", "f32", [16]);
  write(gpu, state, firstOptimizerState(false));
  const built = await buildEvaluateProgram(model, { batch: uploadBatch(gpu, batch), state });
  built.program.run();
  const perToken = spread(await readF32(gpu, built.losses), batch);
  const mean = perToken.reduce((sum, loss) => sum + loss, 0) / batch.labelTokens;
  expect(mean).toBeCloseTo(losses["tiny-llama-nf4"]!, 4);

  const logits = readTensors("expected/tiny-llama-nf4-logits.safetensors").get("logits")!.values;
  const vocab = logits.length / batch.ids.length;
  const expected = [...batch.targets].map((target, row) => {
    const own = logits.subarray(row * vocab, (row + 1) * vocab);
    return Number(own.indexOf(Math.max(...own)) === target);
  });
  expect([...spread(await readF32(gpu, built.correct), batch)]).toEqual(expected);
});
