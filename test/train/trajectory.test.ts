// Thirty steps of QLoRA against PyTorch, twice: near PyTorch's, and bit-equal to each other.
import { expect, test } from "vitest";
import { STEPS_IN_FLIGHT, Stepper, type StepOutcome } from "../../src/train/step.ts";
import { testGpu } from "../gpu.ts";
import {
  type BatchJson,
  loadTiny,
  microBatchOf,
  readFixture,
  relativeError,
} from "../model/tiny.ts";
import { readTensors } from "../reference/safetensors.ts";

const gpu = await testGpu();

interface Trajectory {
  learningRates: number[];
  microBatches: BatchJson[];
  f32: { losses: number[]; gradientNorms: number[] };
  f64: { losses: number[]; gradientNorms: number[] };
}

const trajectory = readFixture("trajectory/trajectory.json") as Trajectory;
const microBatches = trajectory.microBatches.map(microBatchOf);

async function train(checkpointing: boolean, steps = trajectory.learningRates.length) {
  const model = await loadTiny(gpu, "tiny-llama", {
    quantization: "nf4",
    act: "f32",
    adapter: "trajectory/start",
  });
  const stepper = await Stepper.create(model, {
    tokens: microBatches[0]!.ids.length,
    checkpointing,
    dropout: 0,
    seed: 1,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weightDecay: 0,
    maxNorm: 1,
    dynamicLossScale: false,
  });
  const outcomes: StepOutcome[] = [];
  const pending: Promise<StepOutcome>[] = [];
  for (const [step, learningRate] of trajectory.learningRates.slice(0, steps).entries()) {
    const group = [microBatches[(2 * step) % 4]!, microBatches[(2 * step + 1) % 4]!];
    pending.push(stepper.run(group, step, learningRate));
    if (pending.length > STEPS_IN_FLIGHT) outcomes.push(await pending.shift()!);
  }
  outcomes.push(...(await Promise.all(pending)));
  return { outcomes, adapter: await model.adapter.read() };
}

test("losses, gradient norms and the final adapter are PyTorch's", async () => {
  const { outcomes, adapter } = await train(false);
  expect(outcomes.length).toBe(30);
  outcomes.forEach(({ loss, gradNorm, finite }, step) => {
    expect(finite).toBe(true);
    // The bound asked for; PyTorch's own f32 and f64 runs are 2e-6 apart.
    expect(Math.abs(loss - trajectory.f64.losses[step]!), `loss ${step}`).toBeLessThan(1e-3);
    const norm = trajectory.f64.gradientNorms[step]!;
    expect(Math.abs(gradNorm - norm), `norm ${step}`).toBeLessThan(1e-3 * norm);
  });
  const expected = readTensors("trajectory/end-f64.safetensors");
  expect(expected.size).toBe(adapter.size * 2);
  for (const [path, { a, b }] of adapter) {
    const at = (part: string) => expected.get(`base_model.model.${path}.${part}.weight`)!.values;
    expect(relativeError(a, at("lora_A")), path).toBeLessThan(1e-3);
    expect(relativeError(b, at("lora_B")), path).toBeLessThan(1e-3);
  }
});

test("two runs are bit-equal, and checkpointing changes no bit", async () => {
  const first = await train(false, 8);
  for (const again of [await train(false, 8), await train(true, 8)]) {
    expect(again.outcomes).toEqual(first.outcomes);
    expect(again.adapter).toEqual(first.adapter);
  }
});
