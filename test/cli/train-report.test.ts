// What a run shows, and on which stream: the log of a run under compat is the command's product.
import { expect, test } from "vitest";
import type { Output } from "../../src/cli/output.ts";
import { createPaint } from "../../src/cli/terminal.ts";
import type { RunPlan, RunSummary } from "../../src/engine.ts";
import { formatSummary, reportTraining } from "../../src/cli/train-report.ts";

function collecting() {
  const said: string[] = [];
  let printed = "";
  const output: Output = {
    isJson: false,
    isLive: false,
    columns: 80,
    paint: createPaint(process.stderr),
    say: (line) => void said.push(line),
    print: (text) => void (printed += text),
    emit: () => {},
    status: () => {},
  };
  return { output, said, printed: () => printed };
}

test("lines of XTuner's log go to stdout, and Hone's own words do not", () => {
  const { output, said, printed } = collecting();
  const report = reportTraining(output, { loggingSteps: 10, isXtuner: true });
  report({ type: "log", level: "INFO", message: "Iter", line: "mmengine - INFO - Iter\u001b[2J" });
  report({ type: "warning", message: "Low memory." });
  expect(printed()).toBe("mmengine - INFO - Iter␛[2J\n");
  expect(said).toEqual([expect.stringContaining("Low memory.")]);
});

test.each([
  [false, "steps"],
  [true, "iterations"],
])("what a run counts has its name: under compat %s", (isXtuner, unit) => {
  const { output, said } = collecting();
  const plan: RunPlan = {
    adapterName: "a GPU",
    computeDtype: "f32",
    steps: 128,
    firstStep: 0,
    trainableParameters: 1000,
    dispatchesPerMicroBatch: 1,
    memory: { total: 0, byKind: {} } as unknown as RunPlan["memory"],
  };
  reportTraining(output, { loggingSteps: 10, isXtuner })({ type: "plan", plan });
  expect(said[1]).toBe(`1,000 trainable parameters, 128 ${unit}`);
  const summary: RunSummary = {
    endedBy: "finished",
    step: 128,
    steps: 128,
    finalLoss: 1,
    skipped: 0,
    checkpoint: "iter_128",
    seconds: 1,
    timeToFirstStepSeconds: 1,
    peakGpuBytes: 0,
  };
  expect(formatSummary(summary, isXtuner)).toContain(`Finished 128 of 128 ${unit} in`);
  const nothing = formatSummary({ ...summary, finalLoss: Number.NaN }, isXtuner);
  expect(nothing).toContain(`All 128 ${unit} were done before`);
});
