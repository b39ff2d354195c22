// Training by iterations: XTuner's weights and rates against PyTorch, and the loss scale's rules.
import { expect, test } from "vitest";
import { parseConfig } from "../../src/config/read.ts";
import type { StepReport } from "../../src/engine.ts";
import { write } from "../../src/gpu/tensor.ts";
import { OPTIMIZER_STATE } from "../../src/kernels/grad-norm.ts";
import { planSteps } from "../../src/train/plan.ts";
import { runTraining } from "../../src/train/run.ts";
import { Stepper } from "../../src/train/step.ts";
import { testGpu } from "../gpu.ts";
import { type BatchJson, loadTiny, microBatchOf, readFixture } from "../model/tiny.ts";

const gpu = await testGpu();
const expected = readFixture("trajectory/xtuner.json") as {
  iterations: number;
  group: number;
  lr: number;
  warmupRatio: number;
  maxNorm: number;
  losses: number[];
  gradientNorms: number[];
  adapterNorm: number;
};
const { microBatches } = readFixture("trajectory/trajectory.json") as { microBatches: BatchJson[] };
const batches = microBatches.map(microBatchOf);

async function train(firstScale?: number) {
  const model = await loadTiny(gpu, "tiny-llama", {
    quantization: "nf4",
    act: "f32",
    adapter: "trajectory/start",
  });
  const stepper = await Stepper.create(model, {
    tokens: batches[0]!.ids.length,
    checkpointing: false,
    dropout: 0,
    seed: 1,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weightDecay: 0,
    maxNorm: expected.maxNorm,
    dynamicLossScale: firstScale !== undefined,
  });
  if (firstScale !== undefined) {
    write(gpu, stepper.state, Float32Array.of(firstScale), OPTIMIZER_STATE.lossScale * 4);
  }
  const { iterations, group, lr, warmupRatio } = expected;
  const config = parseConfig(
    {
      compat: "xtuner-0.1.17",
      model: "m",
      data: ["d"],
      max_steps: iterations,
      accumulative_counts: group,
      lr,
      warmup_ratio: warmupRatio,
      save_steps: 1000,
    },
    "the test",
  );
  const reports: StepReport[] = [];
  const summary = await runTraining({
    plan: planSteps(config, batches.length),
    stepper,
    batchAt: (index) => batches[index % batches.length]!,
    done: { step: 0, tokens: 0, checkpoint: "", isEvaluated: true },
    now: () => performance.now(),
    signal: undefined,
    pausing: undefined,
    onStep: (report) => reports.push(report),
    onPause: () => {},
    evaluate: () => Promise.resolve(true),
    save: () => Promise.resolve("iter"),
  });
  return { reports, summary, adapter: await model.adapter.read() };
}

test("losses of all iterations, norms of all optimizer steps and the adapter's are PyTorch's", async () => {
  const { reports, adapter } = await train();
  expect(reports.length).toBe(11);
  reports.forEach(({ loss }, i) =>
    // As in the trajectory of optimizer steps: PyTorch's own f32 and f64 runs are 2e-6 apart there.
    expect(Math.abs(loss - expected.losses[i]!), `loss ${i}`).toBeLessThan(1e-3),
  );
  const norms = reports.filter(({ iteration }) => iteration?.updated).map((r) => r.gradNorm);
  expect(norms.length).toBe(3);
  norms.forEach((norm, i) => expect(norm / expected.gradientNorms[i]!).toBeCloseTo(1, 3));
  let squares = 0;
  for (const { a, b } of adapter.values()) {
    for (const value of [...a, ...b]) squares += value * value;
  }
  expect(Math.sqrt(squares) / expected.adapterNorm).toBeCloseTo(1, 4);
  // Between optimizer steps the norm of the last one stands; before the first there is none.
  expect(reports.map(({ gradNorm }) => Number.isNaN(gradNorm)).slice(0, 4)).toEqual([
    true,
    true,
    true,
    false,
  ]);
  expect(reports[6]!.gradNorm).toBe(reports[3]!.gradNorm);
});

test("a skipped optimizer step halves the scale, and the schedule goes on", async () => {
  // The first group's norm, times this, is beyond f32; half of it is not.
  const { reports, summary } = await train(2 ** 127);
  const updates = reports.filter(({ iteration }) => iteration?.updated);
  const isSkipped = updates.map(({ gradNorm }) => Number.isNaN(gradNorm));
  expect(isSkipped.slice(0, 2)).toEqual([true, false]);
  expect(updates.map(({ lossScale }) => lossScale)).toEqual([2 ** 127, 2 ** 126, 2 ** 126]);
  expect(summary.skipped).toBe(isSkipped.filter(Boolean).length);
  expect(reports.map(({ learningRate }) => learningRate)).toEqual(planRates());
});

function planRates(): number[] {
  const { iterations, lr, warmupRatio } = expected;
  const warm = Math.trunc(warmupRatio * iterations);
  return Array.from({ length: iterations }, (_, i) =>
    i < warm
      ? lr * (1e-5 + ((1 - 1e-5) * i) / (warm - 1))
      : (lr * (1 + Math.cos((Math.PI * (i - warm)) / (iterations - warm)))) / 2,
  );
}
