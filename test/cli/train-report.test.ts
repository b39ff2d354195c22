// What a run shows, and on which stream: the log of a run under compat is the command's product.
import { expect, test } from "vitest";
import type { Output } from "../../src/cli/output.ts";
import { createPaint } from "../../src/cli/terminal.ts";
import { reportTraining } from "../../src/cli/train-report.ts";

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
