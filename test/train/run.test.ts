// The loop of a run, over a stepper that computes nothing.
import { expect, test } from "vitest";
import { parseConfig } from "../../src/config/read.ts";
import type { StepReport } from "../../src/engine.ts";
import { planSteps } from "../../src/train/plan.ts";
import { runTraining } from "../../src/train/run.ts";
import type { StepOutcome, Stepper } from "../../src/train/step.ts";

const OUTCOME: StepOutcome = {
  loss: 1,
  gradNorm: 1,
  lossScale: 1,
  finite: true,
  skippedTotal: 0,
  skippedInARow: 0,
};

/** Runs as many steps as there are times; each is read back at its time, in milliseconds. */
async function run(times: readonly number[]) {
  const learnt: number[] = [];
  const reports: StepReport[] = [];
  let now = 0;
  const goOn = () => {
    now = times[reports.length] ?? now;
  };
  const stepper = {
    run: () => {
      if (reports.length === 0) goOn();
      return Promise.resolve(OUTCOME);
    },
    learnSpeed: (seconds: number) => void learnt.push(seconds),
  } as unknown as Stepper;
  const config = parseConfig({ model: "m", data: ["d"], max_steps: times.length }, "the test");
  await runTraining({
    plan: planSteps(config, 4),
    stepper,
    batchAt: () => ({ labelTokens: 10, tokens: 10 }) as never,
    done: { step: 0, tokens: 0, checkpoint: "", isEvaluated: true },
    now: () => now,
    signal: undefined,
    pausing: undefined,
    onStep(report) {
      reports.push(report);
      goOn();
    },
    onPause: () => {},
    evaluate: async () => true,
    save: async () => "iter",
  });
  return { learnt, reports };
}

test("the time that is left is that of the steps so far, on average, but for the first", async () => {
  const { reports } = await run([70_000, 72_000, 75_000, 77_000]);
  expect(reports.map(({ etaSeconds }) => etaSeconds)).toEqual([210, 4, 2.5, 0]);
});

test("steps that are read back at once were not done in no time", async () => {
  const { learnt } = await run([1000, 2000, 6000, 6000.001, 6000.002]);
  expect(learnt.slice(0, 3)).toEqual([1, 1, 4]);
  expect(learnt[3]).toBeCloseTo(5 / 3 / 4, 4); // a quarter of the mean
  expect(learnt[4]).toBeCloseTo(5 / 4 / 4, 4);
});
