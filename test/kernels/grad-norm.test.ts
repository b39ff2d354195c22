import { describe, expect, test } from "vitest";
import type { Gpu } from "../../src/gpu/device.ts";
import { Recorder } from "../../src/gpu/program.ts";
import { StepScalars } from "../../src/gpu/step-scalars.ts";
import { readF32, type StoredTensor, write } from "../../src/gpu/tensor.ts";
import { Workspace } from "../../src/gpu/workspace.ts";
import {
  firstOptimizerState,
  gradNormFinish,
  gradNormPartialCount,
  gradNormPartials,
  OPTIMIZER_STATE as AT,
} from "../../src/kernels/grad-norm.ts";
import numerics from "../fixtures/numerics.json" with { type: "json" };
import vectors from "../fixtures/torch/vectors.json" with { type: "json" };
import { poisoned, randomF32, runOnce, testGpu, uploadF32 } from "../gpu.ts";
import { clipCoefficient, gradNorm } from "../reference/grad-norm.ts";

const gpu = await testGpu();
const baseline = await testGpu({ baseline: true });

interface Settings {
  readonly maxNorm?: number;
  readonly dynamicLossScale?: boolean;
  readonly state?: Float32Array<ArrayBuffer>;
}

/** The state after one step over `banks`. Checks that nothing is written past the partials. */
async function finish(
  device: Gpu,
  banks: readonly ArrayLike<number>[],
  { maxNorm = 0, dynamicLossScale = false, state: start }: Settings = {},
): Promise<Float32Array> {
  const counts = banks.map((bank) => gradNormPartialCount(bank.length));
  const partials = poisoned(device, "partials", [counts.reduce((a, b) => a + b), 4]);
  const state = uploadF32(device, "state", [16], start ?? firstOptimizerState(dynamicLossScale));
  const gradients = banks.map((bank, i) => uploadF32(device, `bank ${i}`, [bank.length], bank));
  await runOnce(device, (recorder) => {
    let firstPartial = 0;
    gradients.forEach((bank, i) => {
      gradNormPartials(recorder, { gradients: bank, partials: partials.tensor, firstPartial });
      firstPartial += counts[i]!;
    });
    gradNormFinish(recorder, { partials: partials.tensor, state, maxNorm, dynamicLossScale });
  });
  await partials.read();
  const after = await readF32(device, state);
  for (const tensor of [partials.tensor, state, ...gradients]) device.free(tensor);
  return after;
}

/** A start in the middle of a run, with dynamic scaling. */
function stateWith(values: Partial<Record<keyof typeof AT, number>>): Float32Array<ArrayBuffer> {
  const state = firstOptimizerState(true);
  for (const [name, value] of Object.entries(values)) state[AT[name as keyof typeof AT]] = value;
  return state;
}

// f32 sums: at most 16 vectors in a row and eight levels of the tree per chunk, and one rounding each.
const RELATIVE = 40 * 2 ** -24;

// Lengths around a vector, a row of threads and a chunk of 16,384, in one bank and in several.
const BANKS = [
  [1],
  [2],
  [3],
  [4],
  [5],
  [63],
  [64],
  [257],
  [1023],
  [1024],
  [1025],
  [4095],
  [16_383],
  [16_384],
  [16_385],
  [32_769],
  [100_003],
  [1, 1, 1],
  [7, 16_385, 2],
  [20_000, 3, 40_001, 129],
  [400_000, 1],
];

describe.each([
  ["the adapter's limits", gpu],
  ["default limits", baseline],
])("with %s", (_, device) => {
  test("the norm over all banks agrees with the reference", async () => {
    for (const lengths of BANKS) {
      const banks = lengths.map((length, i) => randomF32(length, length + i));
      const expected = gradNorm(...banks);
      const state = await finish(device, banks, { maxNorm: 0.75 });
      const error = Math.abs(state[AT.gradNorm]! / expected - 1);
      expect(error, `banks of ${lengths.join(", ")}`).toBeLessThan(RELATIVE);
      const coefficient = clipCoefficient(expected, 0.75);
      expect(Math.abs(state[AT.coefficient]! / coefficient - 1)).toBeLessThan(RELATIVE);
      expect(state[AT.finite]).toBe(1);
    }
  });
});

test.each([1e-36, 1e-30, 1e-20, 1e-19, 1e-10, 1, 1e10, 1e13, 1e14, 1e20, 1e30, 1e34])(
  "gradients of size %s have the right norm, although their squares leave f32",
  async (size) => {
    const bank = randomF32(20_001, 3).map((value) => value * size);
    const state = await finish(gpu, [bank]);
    expect(Math.abs(state[AT.gradNorm]! / gradNorm(bank) - 1)).toBeLessThan(1e-5);
  },
);

test("one large gradient among small ones, and the other way round, both count as they should", async () => {
  // A pair on either side of each border between the sums, the smaller not negligible.
  for (const border of [2 ** -63, 2 ** 46]) {
    for (const ratio of [0.9, 0.1]) {
      const bank = [border * 1.5, border * 1.5 * ratio * 0.7, 0, border * 0.5];
      const state = await finish(gpu, [bank]);
      const expected = gradNorm(bank.map(Math.fround));
      expect(Math.abs(state[AT.gradNorm]! / expected - 1)).toBeLessThan(RELATIVE);
    }
  }
  const state = await finish(gpu, [[1e-30, 3e20, 5, 4e20]]);
  expect(Math.abs(state[AT.gradNorm]! / 5e20 - 1)).toBeLessThan(RELATIVE);
});

test("gradients that are all zero have norm 0 and are not clipped", async () => {
  const state = await finish(gpu, [new Float32Array(1000)], { maxNorm: 1 });
  expect(state[AT.gradNorm]).toBe(0);
  expect(state[AT.coefficient]).toBe(1);
  expect(state[AT.finite]).toBe(1);
});

test("a norm of 5 is clipped as torch clips it", async () => {
  const state = await finish(gpu, [[3], [0, 4]], { maxNorm: 1 });
  expect(state[AT.gradNorm]).toBeCloseTo(numerics.clip.norm, 6);
  numerics.clip.clipped.forEach((clipped, i) => {
    expect([3, 4][i]! * state[AT.coefficient]!).toBeCloseTo(clipped, 6);
  });
});

test.each(vectors.clip.cases)("agrees with clip_grad_norm_ at $maxNorm", async (expected) => {
  const { gradients } = vectors.clip;
  const state = await finish(gpu, [gradients], { maxNorm: expected.maxNorm });
  expect(Math.abs(state[AT.gradNorm]! / expected.norm - 1)).toBeLessThan(RELATIVE);
  gradients.forEach((gradient, i) => {
    const clipped = expected.clipped[i]!;
    const allowed = Math.abs(clipped) * RELATIVE;
    expect(Math.abs(gradient * state[AT.coefficient]! - clipped)).toBeLessThanOrEqual(allowed);
  });
});

test("the norm is that of the true gradient, whatever the loss scale; the coefficient undoes it", async () => {
  const bank = [3 * 2 ** 20, 4 * 2 ** 20];
  const state = await finish(gpu, [bank], {
    maxNorm: 1,
    dynamicLossScale: true,
    state: stateWith({ lossScale: 2 ** 20 }),
  });
  expect(state[AT.gradNorm]).toBeCloseTo(5, 5);
  expect(state[AT.coefficient]! * 2 ** 20).toBeCloseTo(clipCoefficient(5, 1), 6);
  expect(state[AT.usedLossScale]).toBe(2 ** 20);
});

test("the same gradients give the same bits", async () => {
  const bank = randomF32(70_001, 9);
  const first = await finish(gpu, [bank], { maxNorm: 1 });
  for (let i = 0; i < 5; i++) {
    expect(await finish(gpu, [bank], { maxNorm: 1 })).toEqual(first);
  }
});

describe("a gradient that is not finite", () => {
  const NOT_FINITE = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];

  test("is found wherever it is, and leaves the norm 0", async () => {
    for (const value of NOT_FINITE) {
      for (const at of [0, 1, 1023, 16_383, 16_384, 20_001]) {
        const bank = randomF32(20_002, 5);
        bank[at] = value;
        const state = await finish(gpu, [[1, 2], bank], { maxNorm: 1 });
        expect(state[AT.finite], `${value} at ${at}`).toBe(0);
        expect(state[AT.coefficient]).toBe(0);
        expect(state[AT.gradNorm]).toBe(0);
        expect(state[AT.adamStep]).toBe(0);
        expect(state[AT.skippedTotal]).toBe(1);
        expect(state[AT.skippedInARow]).toBe(1);
        expect(state[AT.lossScale]).toBe(1);
      }
    }
  });

  test("is not looked for in the padding of a bank", async () => {
    const padded = uploadF32(gpu, "padded", [8], [1, 2, 3, 4, 5, Number.NaN, 1e30, 7]);
    const partials = gpu.allocate("partials", "f32", [1, 4]);
    const state = uploadF32(gpu, "state", [16], firstOptimizerState(false));
    await runOnce(gpu, (recorder) => {
      gradNormPartials(recorder, {
        gradients: { ...padded, shape: [5] },
        partials,
        firstPartial: 0,
      });
      gradNormFinish(recorder, { partials, state, maxNorm: 0, dynamicLossScale: false });
    });
    const after = await readF32(gpu, state);
    expect(after[AT.gradNorm]! / Math.sqrt(55)).toBeCloseTo(1, 6);
    expect(after[AT.finite]).toBe(1);
  });

  test("includes a norm beyond f32", async () => {
    const state = await finish(gpu, [[3e38, 3e38]]);
    expect(state[AT.finite]).toBe(0);
  });

  test("halves a dynamic loss scale, not below 1, without counting in a row", async () => {
    const settings = { dynamicLossScale: true };
    const state = stateWith({ lossScale: 1024, growthCount: 77, adamStep: 5, skippedTotal: 2 });
    const after = await finish(gpu, [[Number.NaN]], { ...settings, state });
    expect(after[AT.lossScale]).toBe(512);
    expect(after[AT.usedLossScale]).toBe(1024);
    expect(after[AT.growthCount]).toBe(0);
    expect(after[AT.adamStep]).toBe(5);
    expect(after[AT.skippedTotal]).toBe(3);
    expect(after[AT.skippedInARow]).toBe(0);
    const lowest = await finish(gpu, [[Number.NaN]], {
      ...settings,
      state: stateWith({ lossScale: 1, skippedInARow: 1 }),
    });
    expect(lowest[AT.lossScale]).toBe(1);
    expect(lowest[AT.skippedInARow]).toBe(2);
  });

  test("counts in a row at any loss scale if the loss is not finite either", async () => {
    for (const lossSum of NOT_FINITE) {
      const after = await finish(gpu, [[Number.POSITIVE_INFINITY]], {
        dynamicLossScale: true,
        state: stateWith({ lossSum, skippedInARow: 1 }),
      });
      expect(after[AT.skippedInARow]).toBe(2);
      expect(after[AT.lossScale]).toBe(32_768);
    }
  });
});

test("a finite step ends a row of skipped ones and counts towards growth", async () => {
  const after = await finish(gpu, [[1]], {
    dynamicLossScale: true,
    state: stateWith({ skippedInARow: 2, skippedTotal: 4, growthCount: 11, adamStep: 8 }),
  });
  expect(after[AT.skippedInARow]).toBe(0);
  expect(after[AT.skippedTotal]).toBe(4);
  expect(after[AT.growthCount]).toBe(12);
  expect(after[AT.adamStep]).toBe(9);
  expect(after[AT.lossScale]).toBe(65_536);
});

test("the loss scale doubles after 2000 good steps, no earlier, and starts to count anew", async () => {
  const steps = await recordStep([1, -2], true, stateWith({ growthCount: 1997, adamStep: 1997 }));
  for (let i = 0; i < 2; i++) steps.replay();
  const before = await readF32(gpu, steps.state);
  expect(before[AT.lossScale]).toBe(65_536);
  expect(before[AT.growthCount]).toBe(1999);
  steps.replay();
  const after = await readF32(gpu, steps.state);
  expect(after[AT.lossScale]).toBe(131_072);
  expect(after[AT.usedLossScale]).toBe(65_536);
  expect(after[AT.growthCount]).toBe(0);
  expect(after[AT.adamStep]).toBe(2000);
  steps.replay();
  expect((await readF32(gpu, steps.state))[AT.growthCount]).toBe(1);
});

test("without dynamic scaling the loss scale stays 1", async () => {
  const start = firstOptimizerState(false);
  start[AT.growthCount] = 1999;
  const steps = await recordStep([1, -2], false, start);
  steps.replay();
  expect((await readF32(gpu, steps.state))[AT.lossScale]).toBe(1);
  write(gpu, steps.gradients, Float32Array.of(Number.NaN, 0));
  steps.replay();
  const after = await readF32(gpu, steps.state);
  expect(after[AT.lossScale]).toBe(1);
  expect(after[AT.skippedInARow]).toBe(1);
});

async function recordStep(
  bank: readonly number[],
  dynamicLossScale: boolean,
  start: Float32Array<ArrayBuffer>,
): Promise<{ replay: () => void; state: StoredTensor; gradients: StoredTensor }> {
  const recorder = new Recorder(gpu, "step", new Workspace(gpu), new StepScalars(gpu));
  const gradients = uploadF32(gpu, "gradients", [bank.length], bank);
  const state = uploadF32(gpu, "state", [16], start);
  const partials = recorder.transient("partials", "f32", [1, 4]);
  gradNormPartials(recorder, { gradients, partials, firstPartial: 0 });
  gradNormFinish(recorder, { partials, state, maxNorm: 1, dynamicLossScale });
  const program = await recorder.build();
  return { replay: () => program.run(), state, gradients };
}
