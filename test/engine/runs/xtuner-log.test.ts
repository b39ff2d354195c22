// XTuner's log: numbers as Python writes them, and a run's lines and files by a clock that the test moves.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { StepReport, TrainEvent } from "../../../src/engine.ts";
import {
  formatFixed,
  formatIteration,
  formatJsonFloat,
  formatScientific,
  formatTimedelta,
} from "../../../src/engine/runs/xtuner-format.ts";
import { recentSteps, XtunerLog } from "../../../src/engine/runs/xtuner-log.ts";
import { openFolder } from "../../../src/hosts/node.ts";
import { temporaryFolder } from "../tiny-folder.ts";

test("a published line is written as it stood", () => {
  const figures = {
    iteration: 720,
    total: 768,
    learningRate: 2.127216e-6,
    etaSeconds: 27.9,
    time: 0.7224,
    dataTime: 0.0059,
    memoryMib: 5661,
    loss: 0.0103,
    gradNorm: undefined,
    normFirst: false,
  };
  expect(formatIteration(figures)).toBe(
    "Iter(train) [720/768]  lr: 2.1272e-06  eta: 0:00:27  time: 0.7224  data_time: 0.0059  memory: 5661  loss: 0.0103",
  );
  expect(formatIteration({ ...figures, iteration: 10, gradNorm: 0.01234 })).toMatch(
    /^Iter\(train\) \[ 10\/768\] {2}lr: .+ {2}loss: 0\.0103 {2}grad_norm: 0\.0123$/,
  );
  expect(formatIteration({ ...figures, gradNorm: 0.5, normFirst: true })).toMatch(
    / {2}grad_norm: 0\.5000 {2}loss: 0\.0103$/,
  );
});

// What CPython 3 prints for each.
test.each([
  [0.03125, "0.0312"],
  [0.09375, "0.0938"],
  [-0.03125, "-0.0312"],
  [2.00005, "2.0000"],
  [0.00005, "0.0001"],
  [1 / 3, "0.3333"],
  [Number.NaN, "nan"],
  [Number.POSITIVE_INFINITY, "inf"],
])("f'{%s:.4f}' is %s", (value, text) => {
  expect(formatFixed(value)).toBe(text);
});

test.each([
  [2e-9, "2.0000e-09"],
  [1.9994310213246373e-4, "1.9994e-04"],
  [0, "0.0000e+00"],
  [1e-100, "1.0000e-100"],
])("f'{%s:.4e}' is %s", (value, text) => {
  expect(formatScientific(value)).toBe(text);
});

test.each([
  [2, "2.0"],
  [0.0001, "0.0001"],
  [0.00005, "5e-05"],
  [9.092818181818183e-6, "9.092818181818183e-06"],
  [1e16, "1e+16"],
  [123_456_789.125, "123456789.125"],
  [0, "0.0"],
  [Number.NaN, "null"],
])("json.dumps(%s) is %s", (value, text) => {
  expect(formatJsonFloat(value)).toBe(text);
});

test.each([
  [27.99, "0:00:27"],
  [3600, "1:00:00"],
  [86_399, "23:59:59"],
  [86_400, "1 day, 0:00:00"],
  [2 * 86_400 + 3723, "2 days, 1:02:03"],
])("timedelta of %s s is %s", (seconds, text) => {
  expect(formatTimedelta(seconds)).toBe(text);
});

const NOON = new Date(2024, 3, 12, 11, 57, 11);
const STAMP = "20240412_115711";

interface Scene {
  readonly total?: number;
  readonly epochLength?: number;
  readonly accumulativeCounts?: number;
  readonly firstStep?: number;
  readonly recent?: readonly StepReport[];
}

/** A log in a folder of its own, and what it has told; each iteration takes half a second. */
function openLog(scene: Scene = {}) {
  const {
    total = 40,
    epochLength = 20,
    accumulativeCounts = 4,
    firstStep = 0,
    recent = [],
  } = scene;
  const path = temporaryFolder();
  const lines: string[] = [];
  let nowMs = 0;
  const log = new XtunerLog({
    workDir: openFolder(path),
    name: "a_copy",
    total,
    epochLength,
    firstStep,
    accumulativeCounts,
    recent,
    clock: () => new Date(NOON.getTime() + nowMs),
    now: () => nowMs,
    memoryBytes: () => 1.5 * 2 ** 20,
    onLine: (event) => lines.push(event.line),
    onFault: (message) => expect.unreachable(message),
  });
  const iterate = (step: number, ms = 500) => {
    nowMs += ms;
    log.take(stepEvent(step, accumulativeCounts, total));
  };
  const wait = (ms: number) => void (nowMs += ms);
  const read = (name: string) => readFileSync(join(path, STAMP, name), "utf8");
  return { log, lines, iterate, wait, read, path };
}

/** Loss k/10 at iteration k, a norm of k at every optimizer step. */
function stepEvent(
  step: number,
  group: number,
  total: number,
): Extract<TrainEvent, { type: "step" }> {
  const updated = step % group === 0 || step === total;
  return {
    type: "step",
    step,
    steps: total,
    epoch: 0,
    loss: step / 10,
    learningRate: step / 1e6,
    gradNorm: step - (step % group),
    lossScale: 1,
    tokens: 0,
    labelTokens: 1,
    tokensPerSecond: 1,
    etaSeconds: 0,
    skipped: 0,
    iteration: { updated, dataSeconds: 2 ** -8 },
  };
}

const at = (time: string, text: string) => `04/12 ${time} - mmengine - INFO - ${text}`;

test("a line every ten iterations, with means over ten entries of each", async () => {
  const { log, lines, iterate, read } = openLog();
  for (let step = 1; step <= 40; step++) iterate(step);
  await log.flush();
  const line = (k: number, seconds: string, eta: string, loss: string, norm: string) =>
    at(
      `11:57:${seconds}`,
      `Iter(train) [${k}/40]  lr: ${k / 10}.0000e-05  eta: 0:00:${eta}  time: 0.5000  data_time: 0.0039  memory: 1  loss: ${loss}  grad_norm: ${norm}`,
    );
  expect(lines.slice(1)).toEqual([
    line(10, "16", "15", "0.5500", "6.0000"), // norms 4 and 8
    at("11:57:21", `Exp name: a_copy_${STAMP}`),
    line(20, "21", "10", "1.5500", "12.0000"), // 4, 8, … 20
    // As mmengine 0.10.3 warns when it fetches a batch of the next epoch; none comes after the last.
    "04/12 11:57:21 - mmengine - WARNING - Reach the end of the dataloader, it will be restarted and continue to iterate. It is recommended to use `mmengine.dataset.InfiniteSampler` to enable the dataloader to iterate infinitely.",
    line(30, "26", "05", "2.5500", "16.0000"), // 4 to 28
    line(40, "31", "00", "3.5500", "22.0000"), // ten norms: 4 to 40
  ]);
  expect(lines[0]).toContain("Checkpoints will be saved to ");
  const [first = ""] = read(`vis_data/${STAMP}.json`).split("\n");
  expect(first).toBe(
    '{"lr": 1e-05, "data_time": 0.00390625, "loss": 0.55, "time": 0.5, "grad_norm": 6.0, "iter": 10, "memory": 1, "step": 10}',
  );
  expect(read("vis_data/scalars.json")).toBe(read(`vis_data/${STAMP}.json`));
  // The file has the year.
  expect(read(`${STAMP}.log`).split("\n")[1]).toBe(lines[1]!.replace(/^/, "2024/"));
});

test("no norm before the first optimizer step, none of its lines before the tenth iteration", () => {
  const { lines, iterate } = openLog({ accumulativeCounts: 16, total: 768, epochLength: 384 });
  for (let step = 1; step <= 20; step++) iterate(step);
  expect(lines.length).toBe(3);
  expect(lines[1]).toMatch(/\[ 10\/768\].+loss: 0\.5500$/);
  expect(lines[2]).toMatch(/\[ 20\/768\].+loss: 1\.5500 {2}grad_norm: 16\.0000$/);
});

test("an epoch of no more than ten iterations ends with a line; the name comes again every thousand", () => {
  const { lines, iterate } = openLog({ total: 1005, epochLength: 7 });
  for (let step = 1; step <= 1005; step++) iterate(step);
  const ours = lines.filter((line) => !line.includes("Reach the end of the dataloader"));
  expect(lines.length - ours.length).toBe(143); // 1005 / 7 rounded down: before 8, 15, … 1002
  const told = ours.slice(1).map((line) => /Exp name|\[ *(\d+)\//.exec(line)![1] ?? "name");
  expect(told.slice(0, 3)).toEqual(["name", "7", "10"]);
  expect(told.slice(-3)).toEqual(["990", "name", "1000"]);
});

test("an iteration's time has in it the evaluation before it; the first begins with training", async () => {
  const { log, lines, iterate, wait } = openLog();
  wait(9000);
  log.evaluating("before");
  wait(9000);
  await log.evaluated("before", 0, false);
  for (let step = 1; step <= 10; step++) iterate(step);
  log.evaluating("during");
  wait(5000);
  for (let step = 11; step <= 20; step++) iterate(step);
  const timed = lines.filter((line) => line.includes("Iter(train)"));
  expect(timed[0]).toContain("eta: 0:00:15  time: 0.5000");
  expect(timed[1]).toContain("eta: 0:00:15  time: 1.0000"); // (0.5 · 20 + 5) / 20 each, 20 to come
});

test("samples in order, and as a file only where a checkpoint is saved", async () => {
  const { log, lines, read, path } = openLog();
  const sample = (sequence: string) =>
    log.take({ type: "sample", step: 10, input: "q", output: "a", sequence });
  log.evaluating("during");
  sample("<s>one</s>");
  sample("<s>two\nlines");
  await log.evaluated("during", 10, true);
  log.saving(10);
  log.evaluating("during");
  sample("not kept");
  await log.evaluated("during", 15, false);
  log.evaluating("after");
  sample("last");
  await log.evaluated("after", 20, true);
  await log.flush();
  expect(lines.map((line) => line.replace(/^.+ - INFO - /, ""))).toEqual([
    "after_train_iter in EvaluateChatHook.",
    "Sample output:\n<s>one</s>\n",
    "Sample output:\n<s>two\nlines\n",
    "Saving checkpoint at 10 iterations",
    "after_train_iter in EvaluateChatHook.",
    "Sample output:\nnot kept\n",
    "after_train in EvaluateChatHook.",
    "Sample output:\nlast\n",
  ]);
  expect(readdirSync(join(path, STAMP, "vis_data"))).toEqual(["eval_outputs_iter_9.txt"]);
  expect(read("vis_data/eval_outputs_iter_9.txt")).toBe(
    "Eval output 1:\n<s>one</s>\n\n\n\nEval output 2:\n<s>two\nlines\n\n\n\n",
  );
});

test("resumed, the means go on from what was before, and the time is that of this part", () => {
  const whole = openLog();
  for (let step = 1; step <= 40; step++) whole.iterate(step);
  const recent = Array.from({ length: recentSteps(4) }, (_, i) => i + 1)
    .filter((step) => step <= 25)
    .map((step) => stepEvent(step, 4, 40));
  const rest = openLog({ firstStep: 25, recent });
  for (let step = 26; step <= 40; step++) rest.iterate(step);
  expect(lastFigures(rest.lines)).toEqual(lastFigures(whole.lines));
});

function lastFigures(lines: readonly string[]): string[] {
  return lines.slice(-2).map((line) => /eta.+$/.exec(line)![0]);
}
