import { expect, test } from "vitest";
import type { Gpu } from "../../src/gpu/device.ts";
import { Recorder } from "../../src/gpu/program.ts";
import { StepScalars } from "../../src/gpu/step-scalars.ts";
import { read, readF32, write } from "../../src/gpu/tensor.ts";
import { Workspace } from "../../src/gpu/workspace.ts";
import { adamw } from "../../src/kernels/adamw.ts";
import numerics from "../fixtures/numerics.json" with { type: "json" };
import vectors from "../fixtures/torch/vectors.json" with { type: "json" };
import { largestDifference, poisoned, randomF32, testGpu, uploadF32 } from "../gpu.ts";
import { adamw as reference, startAdamw } from "../reference/adamw.ts";

const gpu = await testGpu();
const baseline = await testGpu({ baseline: true });

const ADAM_STEP = 2;
const COEFFICIENT = 6;
const FINITE = 7;

interface Settings {
  readonly rate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
}

const USUAL: Settings = { rate: 2e-4, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 };

/** A bank with moments of zero; `step` makes step t of it and tells the parameters. */
async function prepare(device: Gpu, start: ArrayLike<number>, settings: Settings) {
  const shape = [start.length];
  const zeros = new Float32Array(start.length);
  const parameters = uploadF32(device, "parameters", shape, start);
  const gradients = uploadF32(device, "gradients", shape, zeros);
  const m = uploadF32(device, "m", shape, zeros);
  const v = uploadF32(device, "v", shape, zeros);
  const state = device.allocate("state", "f32", [16]);
  const scalars = new StepScalars(device);
  scalars.set({ learningRate: settings.rate });
  const recorder = new Recorder(device, "adamw", new Workspace(device), scalars);
  adamw(recorder, { parameters, gradients, m, v, state, ...settings });
  const program = await recorder.build();
  return {
    tensors: { parameters, gradients, m, v },
    async step(
      t: number,
      gradient: ArrayLike<number>,
      { coefficient = 1, isFinite = true } = {},
    ): Promise<Float32Array> {
      const values = new Float32Array(16);
      values[ADAM_STEP] = t;
      values[COEFFICIENT] = coefficient;
      values[FINITE] = isFinite ? 1 : 0;
      write(device, state, values);
      write(device, gradients, Float32Array.from(gradient));
      program.run();
      return readF32(device, parameters);
    },
  };
}

test("adamw follows torch's trace without weight decay", async () => {
  const bank = await prepare(gpu, numerics.adamw_wd0.p0, USUAL);
  for (const [t, expected] of numerics.adamw_wd0.after.entries()) {
    const gradient = [0.1 * (t + 1), -0.2, 0.05 * (-1) ** t, 0];
    // Parameters up to 2, each rounded to f32 once a step, there and here.
    expect(largestDifference(await bank.step(t + 1, gradient), expected)).toBeLessThan(3e-7);
  }
});

test("adamw follows torch's trace with weight decay", async () => {
  const after = numerics["adamw_wd0.1_lr0.01"];
  const bank = await prepare(gpu, numerics.adamw_wd0.p0, {
    ...USUAL,
    rate: 0.01,
    weightDecay: 0.1,
  });
  for (const [t, expected] of after.entries()) {
    const gradient = [0.1 * (t + 1), -0.2, 0.05 * (-1) ** t, 0];
    expect(largestDifference(await bank.step(t + 1, gradient), expected)).toBeLessThan(3e-7);
  }
});

test("adamw follows torch.optim.AdamW in f64 over four steps, to f32 rounding", async () => {
  const { start, gradients, after, steps, ...settings } = vectors.adamw;
  const bank = await prepare(gpu, start, settings);
  const largest = Math.max(...start.map(Math.abs));
  for (let t = 0; t < steps; t++) {
    const part = [t * start.length, (t + 1) * start.length] as const;
    const actual = await bank.step(t + 1, gradients.slice(...part));
    // Three roundings of the parameter a step, and a few of an update of about the learning rate.
    const allowed = (t + 1) * (3 * 2 ** -24 * largest + 8 * 2 ** -24 * settings.rate);
    expect(largestDifference(actual, after.slice(...part))).toBeLessThan(allowed);
  }
});

// Lengths around a vector of four and a workgroup of 1024 elements.
const LENGTHS = [
  1, 2, 3, 4, 5, 6, 7, 8, 63, 64, 65, 255, 256, 257, 1023, 1024, 1025, 4099, 16_385, 100_003,
];

test.each([
  ["the adapter's limits", gpu],
  ["default limits", baseline],
])("adamw agrees with the reference for every length, with %s", async (_, device) => {
  const settings = { rate: 1e-2, beta1: 0.85, beta2: 0.97, epsilon: 1e-6, weightDecay: 0.03 };
  for (const length of LENGTHS) {
    const start = randomF32(length, length);
    const bank = await prepare(device, start, settings);
    let state = startAdamw(start);
    for (let t = 1; t <= 3; t++) {
      const gradient = randomF32(length, 100 * t + length);
      const actual = await bank.step(t, gradient, { coefficient: 0.25 });
      const clipped = gradient.map((value) => value * 0.25);
      state = reference(state, clipped, { ...settings, step: t });
      // As above, for parameters below 1; updates reach a few learning rates.
      const difference = largestDifference(actual, state.parameters);
      expect(difference, `${length} at step ${t}`).toBeLessThan(t * (3 * 2 ** -24 + 4e-8));
    }
    for (const tensor of Object.values(bank.tensors)) device.free(tensor);
  }
});

test("neither padding nor what follows the bank is touched", async () => {
  for (const length of [1, 5, 1022]) {
    const outputs = ["parameters", "gradients", "m", "v"].map((label) =>
      poisoned(gpu, label, [length]),
    );
    const [parameters, gradients, m, v] = outputs.map(({ tensor }) => tensor);
    const state = uploadF32(gpu, "state", [16], [0, 0, 1, 0, 0, 0, 1, 1]);
    const recorder = new Recorder(gpu, "guarded", new Workspace(gpu), new StepScalars(gpu));
    adamw(recorder, {
      parameters: parameters!,
      gradients: gradients!,
      m: m!,
      v: v!,
      state,
      ...USUAL,
    });
    (await recorder.build()).run();
    for (const output of outputs) await output.read(); // throws if the guard band was touched
    expect(await outputs[1]!.read()).toEqual(new Float32Array(length));
  }
});

test("bias correction is right from the first step to the millionth", async () => {
  for (const beta2 of [0.95, 0.999, 0.99999]) {
    for (const t of [1, 2, 3, 7, 50, 499, 500, 501, 1000, 12_345, 100_000, 1_000_000]) {
      const settings = { ...USUAL, rate: 1, beta2 };
      const bank = await prepare(gpu, [0], settings);
      const [actual] = await bank.step(t, [0.5]);
      const expected = reference(startAdamw([0]), [0.5], { ...settings, step: t }).parameters[0]!;
      // The parameter is the update itself. A dozen roundings, and exp's error of a few ulp.
      expect(Math.abs(actual! / expected - 1), `β2 ${beta2}, step ${t}`).toBeLessThan(
        16 * 2 ** -24,
      );
    }
  }
});

test("a β of 0 leaves no memory", async () => {
  const settings = { ...USUAL, rate: 0.5, beta1: 0, beta2: 0 };
  const bank = await prepare(gpu, [1, 1], settings);
  await bank.step(1, [3, -3]);
  const actual = await bank.step(2, [0.25, 0.25]); // a step of the rate's size, by the sign alone
  expect(largestDifference(actual, [0, 1])).toBeLessThan(1e-6);
});

test("a skipped step changes no bit of parameters, m and v, and clears the gradients", async () => {
  const length = 1027;
  const bank = await prepare(gpu, randomF32(length, 1), { ...USUAL, weightDecay: 0.1 });
  await bank.step(1, randomF32(length, 2));
  const { parameters, m, v, gradients } = bank.tensors;
  const bits = () => Promise.all([parameters, m, v].map((tensor) => read(gpu, tensor)));
  const before = await bits();
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY, 1]) {
    const gradient = new Float32Array(length).fill(value);
    await bank.step(1, gradient, { coefficient: 0, isFinite: false });
    expect(await bits()).toEqual(before);
    expect(await readF32(gpu, gradients)).toEqual(new Float32Array(length));
  }
});

test("gradients are zero after a step, and no gradient moves nothing but by decay", async () => {
  const start = randomF32(9, 4);
  const bank = await prepare(gpu, start, { ...USUAL, rate: 0.1, weightDecay: 0.5 });
  const after = await bank.step(1, new Float32Array(9));
  const decayed = start.map((value) => value * 0.95);
  expect(largestDifference(after, decayed)).toBeLessThan(2 * 2 ** -24);
  await bank.step(2, randomF32(9, 5));
  expect(await readF32(gpu, bank.tensors.gradients)).toEqual(new Float32Array(9));
});
