// MMLU's questions put to a model, with progress, and the accuracies as XTuner's tables.
import { formatCount } from "../base/format.ts";
import { formatCategories, formatDetails } from "../data/mmlu-score.ts";
import type { ChoicesReport, ChoicesRequest } from "../engine.ts";
import { showLoading } from "./open-chat.ts";
import { formatCountBar } from "./progress.ts";
import { type Session, STOPPING_WORK, untilStopped, withEngine } from "./session.ts";

/** Runs the test and prints its tables: subjects, subcategories, and last the categories. */
export async function runMmluTest(
  session: Session,
  request: Omit<ChoicesRequest, "onProgress" | "onAnswer" | "signal">,
): Promise<ChoicesReport> {
  const { output } = session;
  const work = (signal: AbortSignal) =>
    withEngine(session, (engine) =>
      engine.askChoices({
        ...request,
        signal,
        ...showLoading(output),
        onAnswer(answer) {
          const { row, rows } = answer;
          output.emit("answer", answer);
          output.status(formatCountBar("question", row, rows, output.columns));
          if (!output.isLive && isTenth(row, rows)) output.say(`question ${row}/${rows}`);
        },
      }),
    );
  const report = await untilStopped(session, work, STOPPING_WORK);
  output.status(undefined);
  output.emit("summary", report);
  output.print(`${formatDetails(report)}\n${formatCategories(report)}`);
  const { correct, questions, cut } = report;
  output.say(`${formatCount(correct)} of ${formatCount(questions)} questions answered right.`);
  if (cut > 0) {
    output.say(
      `${output.paint.yellow("Warning:")} ${formatCount(cut)} questions were longer than max_length and lost their end; their answers mean little.`,
    );
  }
  return report;
}

/** Whether a tenth of all is done with this one: ten lines for a log, whatever their number. */
function isTenth(row: number, rows: number): boolean {
  return Math.floor((10 * row) / rows) > Math.floor((10 * (row - 1)) / rows);
}
