import { describe, expect, test } from "vitest";
import type { Gpu } from "../../src/gpu/device.ts";
import {
  crossEntropyEvaluate,
  crossEntropyForwardBackward,
  crossEntropySum,
} from "../../src/kernels/cross-entropy.ts";
import {
  guarded,
  largestDifference,
  poisoned,
  randomF32,
  runOnce,
  testGpu,
  uploadF32,
  uploadU32,
} from "../gpu.ts";
import * as reference from "../reference/cross-entropy.ts";
import { differenceGradient } from "../reference/finite-differences.ts";

const devices = {
  "all features": await testGpu(),
  baseline: await testGpu({ baseline: true }),
};

const { NO_TARGET } = reference;
const STATE_SIZE = 16;
// What the gradient is multiplied by: the step's weight times the optimizer's loss scale, exact in f32.
const LOSS_WEIGHT = 0.125;
const LOSS_SCALE = 1024;

const cases = [
  { rows: 1, vocabulary: 1 }, // nothing to choose: loss 0
  { rows: 1, vocabulary: 2 },
  { rows: 1, vocabulary: 255 }, // one thread idle
  { rows: 1, vocabulary: 256 },
  { rows: 1, vocabulary: 257 }, // one thread with two
  { rows: 1, vocabulary: 1023 },
  { rows: 1, vocabulary: 1025 }, // one thread in its second round of four
  { rows: 1, vocabulary: 32_003 },
  { rows: 2, vocabulary: 3 },
  { rows: 2, vocabulary: 777 },
  { rows: 3, vocabulary: 4 },
  { rows: 3, vocabulary: 513 },
  { rows: 4, vocabulary: 1500 },
  { rows: 5, vocabulary: 100 },
  { rows: 7, vocabulary: 31 },
  { rows: 11, vocabulary: 2049 },
  { rows: 16, vocabulary: 64 },
  { rows: 17, vocabulary: 129 },
  { rows: 33, vocabulary: 300 },
  { rows: 64, vocabulary: 10 },
  { rows: 65, vocabulary: 515 },
];

for (const [name, gpu] of Object.entries(devices)) {
  describe(`on ${name}`, () => {
    test.each(cases)(
      "losses, gradients and hits agree with the reference: $rows × $vocabulary",
      async ({ rows, vocabulary }) => {
        const { logits, targets } = prepare(rows, vocabulary);
        const actual = await run(gpu, logits, targets);
        const expected = reference.crossEntropy(logits, targets, {
          rows,
          vocabulary,
          factor: LOSS_WEIGHT * LOSS_SCALE,
        });
        // Logits are within ±8: exp is good to 3 + 2 · 16 units (WGSL), log adds as much, and the sum
        // of `vocabulary` positive numbers is made in 256 parts.
        const relative = 2 ** -22 * (16 + Math.sqrt(vocabulary / 256));
        expect(largestDifference(actual.loss, expected.losses)).toBeLessThan(relative * 16);
        expect(largestDifference(actual.evaluatedLoss, expected.losses)).toBeLessThan(
          relative * 16,
        );
        expect(largestDifference(actual.dlogits, expected.dlogits)).toBeLessThan(
          relative * LOSS_WEIGHT * LOSS_SCALE,
        );
        expect(Array.from(actual.correct)).toEqual(hits(logits, targets, vocabulary));
        const [lossSum, correctSum] = [sum(expected.losses), sum(actual.correct)];
        expect(Math.abs(actual.state[8]! - 3 - lossSum)).toBeLessThan(relative * 16 * rows);
        expect(actual.state[9]).toBe(correctSum);
      },
    );
  });
}

test("the gradient is that of finite differences", async () => {
  const [rows, vocabulary] = [3, 5];
  const { logits, targets } = prepare(rows, vocabulary);
  const { dlogits } = await run(devices.baseline, logits, targets);
  const shape = { rows, vocabulary, factor: 1 };
  const expected = differenceGradient(
    (x) => sum(reference.crossEntropy(x, targets, shape).losses) * LOSS_WEIGHT * LOSS_SCALE,
    Float64Array.from(logits),
  );
  // The differences are good to 1e-9 times the factor 128; what remains is f32.
  expect(largestDifference(dlogits, expected)).toBeLessThan(2 ** -20 * LOSS_WEIGHT * LOSS_SCALE);
});

test("logits of ±10,000 neither overflow nor lose the loss", async () => {
  const logits = Float32Array.of(10_000, 9_999, -10_000, 0, -10_000, -10_001, -10_002, -20_000);
  const targets = Uint32Array.of(1, 0);
  const { loss, dlogits } = await run(devices.baseline, logits, targets);
  const shape = { rows: 2, vocabulary: 4, factor: LOSS_WEIGHT * LOSS_SCALE };
  const expected = reference.crossEntropy(logits, targets, shape);
  expect(largestDifference(loss, expected.losses)).toBeLessThan(2 ** -20);
  expect(largestDifference(dlogits, expected.dlogits)).toBeLessThan(2 ** -20 * shape.factor);
});

test("of equal largest logits the first is the prediction", async () => {
  const logits = Float32Array.of(1, 5, 5, 0, 5, 5, 1, 1, 2, 2, 2, 2);
  const targets = Uint32Array.of(2, 0, 0);
  const { correct } = await run(devices.baseline, logits, targets);
  expect(Array.from(correct)).toEqual([0, 1, 1]);
});

test("a chunk writes its own tokens' losses and reads its own targets", async () => {
  const gpu = devices.baseline;
  const { logits, targets } = prepare(9, 70);
  const loss = poisoned(gpu, "loss", [9]);
  const kept = poisoned(gpu, "kept", [9]);
  const correct = poisoned(gpu, "correct", [9]);
  const shared = { targets: uploadU32(gpu, "targets", [9], targets), loss: loss.tensor };
  const state = uploadF32(gpu, "state", [STATE_SIZE], stateWith(0));
  const chunk = (first: number, end: number) => logits.slice(first * 70, end * 70);
  const [first, second] = [chunk(0, 4), chunk(4, 9)];
  // The second chunk has room for more rows than are left.
  const secondLogits = guarded(
    gpu,
    "logits",
    [6, 70],
    Float32Array.from([...second, ...chunk(0, 1)]),
  );
  await runOnce(
    gpu,
    (recorder) => {
      const logitsOf = uploadF32(gpu, "logits", [4, 70], first);
      crossEntropyForwardBackward(recorder, { ...shared, logits: logitsOf, state });
      const rest = { logits: secondLogits.tensor, firstRow: 4, rows: 5 };
      const into = { loss: kept.tensor, correct: correct.tensor };
      crossEntropyEvaluate(recorder, { ...shared, ...rest, ...into });
      crossEntropyForwardBackward(recorder, { ...shared, ...rest, state });
    },
    { lossWeight: LOSS_WEIGHT },
  );
  const shape = { rows: 9, vocabulary: 70, factor: LOSS_WEIGHT * LOSS_SCALE };
  const expected = reference.crossEntropy(logits, targets, shape);
  expect(largestDifference(await loss.read(), expected.losses)).toBeLessThan(2 ** -16);
  expect((await kept.read()).subarray(0, 4).every(Number.isNaN)).toBe(true);
  const rest = await secondLogits.read();
  expect(largestDifference(rest.slice(0, 350), expected.dlogits.slice(280))).toBeLessThan(2 ** -12);
  expect(Array.from(rest.slice(350))).toEqual(Array.from(chunk(0, 1)));
});

test("a second run gives the same bits", async () => {
  const { logits, targets } = prepare(12, 2049);
  const first = await run(devices["all features"], logits, targets);
  expect(await run(devices["all features"], logits, targets)).toEqual(first);
});

test("crossEntropyEvaluate names both tensors when they do not fit", async () => {
  const gpu = devices.baseline;
  const record = runOnce(gpu, (recorder) =>
    crossEntropyEvaluate(recorder, {
      logits: poisoned(gpu, "logits", [2, 5]).tensor,
      targets: uploadU32(gpu, "targets", [2], [0, 0]),
      loss: poisoned(gpu, "loss", [2]).tensor,
      correct: poisoned(gpu, "correct", [2]).tensor,
      firstRow: 1,
    }),
  );
  await expect(record).rejects.toThrow(
    "crossEntropyEvaluate: 2 rows from 1 on; logits has 2, targets 2",
  );
});

/** Every fourth row has no target; the others have the first id, the last, and some between. */
function prepare(rows: number, vocabulary: number) {
  const logits = randomF32(rows * vocabulary, rows + vocabulary).map((value) => value * 8);
  const choices = randomF32(rows, 5);
  const targets = Uint32Array.from(choices, (choice, row) => {
    if (row % 4 === 3) return NO_TARGET;
    return [vocabulary - 1, 0, Math.floor(((choice + 1) / 2) * vocabulary)][row % 3]!;
  });
  // So that some are hit: a target that is its row's largest.
  const hit = (rows - 1) * vocabulary + targets[rows - 1]!;
  if (targets[rows - 1] !== NO_TARGET) logits[hit] = 8;
  return { logits, targets };
}

test("a sum leaves out what has no target, whatever stands there", async () => {
  const gpu = devices.baseline;
  const values = uploadF32(gpu, "values", [5], [1, Number.NaN, 4, 1e30, Number.POSITIVE_INFINITY]);
  const ids = [7, NO_TARGET, 0, NO_TARGET, NO_TARGET];
  const targets = uploadU32(gpu, "targets", [5], ids);
  const state = guarded(gpu, "state", [STATE_SIZE], stateWith(3));
  await runOnce(gpu, (recorder) =>
    crossEntropySum(recorder, { values, targets, state: state.tensor, into: "loss" }),
  );
  expect((await state.read())[8]).toBe(8);
});

function stateWith(lossSum: number): Float32Array {
  const state = new Float32Array(STATE_SIZE);
  state[0] = LOSS_SCALE;
  state[8] = lossSum;
  return state;
}

/** Evaluation first, then training over the same logits, then both sums onto a state of 3 and 0. */
async function run(gpu: Gpu, data: Float32Array, targetIds: Uint32Array) {
  const rows = targetIds.length;
  const logits = guarded(gpu, "logits", [rows, data.length / rows], data);
  const loss = poisoned(gpu, "loss", [rows]);
  const evaluatedLoss = poisoned(gpu, "evaluatedLoss", [rows]);
  const correct = poisoned(gpu, "correct", [rows]);
  const state = guarded(gpu, "state", [STATE_SIZE], stateWith(3));
  const shared = { logits: logits.tensor, targets: uploadU32(gpu, "targets", [rows], targetIds) };
  await runOnce(
    gpu,
    (recorder) => {
      const outputs = { loss: evaluatedLoss.tensor, correct: correct.tensor };
      crossEntropyEvaluate(recorder, { ...shared, ...outputs });
      const training = { loss: loss.tensor, state: state.tensor };
      crossEntropyForwardBackward(recorder, { ...shared, ...training });
      const into = { targets: shared.targets, state: state.tensor };
      crossEntropySum(recorder, { values: loss.tensor, ...into, into: "loss" });
      crossEntropySum(recorder, { values: correct.tensor, ...into, into: "correct" });
    },
    { lossWeight: LOSS_WEIGHT },
  );
  return {
    dlogits: await logits.read(),
    loss: await loss.read(),
    evaluatedLoss: await evaluatedLoss.read(),
    correct: await correct.read(),
    state: await state.read(),
  };
}

function hits(logits: Float32Array, targets: Uint32Array, vocabulary: number): number[] {
  return Array.from(targets, (target, row) => {
    if (target === NO_TARGET) return 0;
    const values = logits.subarray(row * vocabulary, (row + 1) * vocabulary);
    return values.indexOf(Math.max(...values)) === target ? 1 : 0;
  });
}

function sum(values: ArrayLike<number>): number {
  return Array.from(values).reduce((total, value) => total + value, 0);
}
