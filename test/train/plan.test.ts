// What a run is made of: optimizer steps, or XTuner's iterations with its weights and due times.
import { expect, test } from "vitest";
import { parseConfig } from "../../src/config/read.ts";
import { planSteps } from "../../src/train/plan.ts";

const BASE = { model: "m", data: ["d"] };
const plan = (options: object, batches: number) =>
  planSteps(parseConfig({ ...BASE, ...options }, "the test"), batches);
const xtuner = (options: object, batches: number) =>
  plan({ compat: "xtuner-0.1.17", ...options }, batches);
const range = (count: number) => Array.from({ length: count }, (_, i) => i);

test("the tutorial: 768 iterations of one micro-batch, the optimizer steps in 48 of them", () => {
  const tutorial = xtuner({ max_epochs: 2, save_steps: 300, evaluation_freq: 300 }, 384);
  expect([tutorial.unit, tutorial.steps]).toEqual(["iteration", 768]);
  const updates = range(768).filter((i) => tutorial.updatesIn(i));
  expect(updates).toEqual(range(48).map((step) => 16 * step + 15));
  expect(tutorial.microBatchesOf(500)).toEqual([500]);
  expect(range(769).filter((i) => i > 0 && tutorial.savesAfter(i))).toEqual([300, 600, 768]);
  const due = range(769).flatMap((i) => tutorial.evaluationsAfter(i).map((moment) => [i, moment]));
  expect(due).toEqual([
    [0, "before"],
    [300, "during"],
    [600, "during"],
    [768, "during"],
    [768, "after"],
  ]);
  expect(tutorial.savesFirst).toBe(false);
});

test("questions are answered where a checkpoint is saved too, and with 0 before and after alone", () => {
  const often = xtuner({ max_steps: 100, save_steps: 40, evaluation_freq: 30 }, 50);
  const due = (of: typeof often) =>
    range(101).filter((i) => of.evaluationsAfter(i).includes("during"));
  expect(due(often)).toEqual([30, 40, 60, 80, 90, 100]);
  const never = xtuner({ max_steps: 100, save_steps: 40, evaluation_freq: 0 }, 50);
  expect(due(never)).toEqual([]);
  expect(never.evaluationsAfter(100)).toEqual(["after"]);
});

test("losses are means of each chunk, over the chunks of the group; the last group may be short", () => {
  const ragged = xtuner({ max_steps: 70, accumulative_counts: 16 }, 35);
  expect(range(70).filter((i) => ragged.updatesIn(i))).toEqual([15, 31, 47, 63, 69]);
  expect(ragged.lossWeight(63, 20)).toBe(1 / (20 * 16));
  expect(ragged.lossWeight(64, 20)).toBe(1 / (20 * 6)); // 70 mod 16 are left
  expect(ragged.lossWeight(64, 0)).toBe(0); // XTuner's would be NaN
  const even = xtuner({ max_steps: 96, accumulative_counts: 16 }, 48);
  expect(even.lossWeight(95, 10)).toBe(1 / 160);
});

test("a run resumed inside a group makes the gradients of its beginning again", () => {
  const ragged = xtuner({ max_steps: 70, accumulative_counts: 16 }, 35);
  expect(ragged.openBefore(32)).toEqual([]);
  expect(ragged.openBefore(37)).toEqual([32, 33, 34, 35, 36]);
  expect(ragged.openBefore(70)).toEqual([]);
  expect(plan({}, 50).openBefore(3)).toEqual([]);
});

test("runs on which XTuner's schedule fails are refused when they are planned", () => {
  expect(() => xtuner({ max_epochs: 2 }, 16)).toThrow("32 iterations");
  expect(() => xtuner({ max_epochs: 2 }, 33)).toThrow("stays near zero");
  expect(xtuner({ max_epochs: 2 }, 34).steps).toBe(68);
});

test("without compat a step is a group, weighed by its label tokens", () => {
  const steps = plan({ max_epochs: 2, save_steps: 5, evaluation_freq: 4 }, 40);
  expect([steps.unit, steps.steps]).toEqual(["step", 5]);
  expect(steps.microBatchesOf(1)).toEqual(range(16).map((i) => 16 + i));
  expect(steps.updatesIn(0)).toBe(true);
  expect(steps.lossWeight(0, 25)).toBe(1 / 25);
  expect([0, 3, 4, 5].map((i) => steps.evaluationsAfter(i))).toEqual([
    ["before"],
    [],
    ["during"],
    ["after"],
  ]);
});
