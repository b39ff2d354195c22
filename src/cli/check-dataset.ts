// hone check-dataset: some rows of a config's data at every stage, what becomes of all rows, and what is wrong.
import { Command } from "commander";
import { formatCount } from "../base/format.ts";
import type { TrainConfig } from "../config.ts";
import type { Turn } from "../data/conversation.ts";
import { packDataset } from "../data/dataset.ts";
import type { EncodedExample } from "../data/encode.ts";
import { formatFunnel } from "../data/funnel.ts";
import { packOptionsOf } from "../engine/datasets/data-options.ts";
import { findFaults, type Finding, surveyExamples } from "../engine/datasets/dataset-findings.ts";
import { drawSamples, type Sample } from "../engine/datasets/dataset-samples.ts";
import {
  buildDatasetView,
  type DatasetView,
  openEncoding,
} from "../engine/datasets/dataset-view.ts";
import { UNUSED_COLUMNS } from "../xtuner/map-dataset.ts";
import type { ConfigNote } from "../xtuner/read-xtuner-config.ts";
import { openDataset, takesConfig } from "./config-flags.ts";
import { banner, listOf } from "./dataset-print.ts";
import { wholeFlag } from "./flags.ts";
import { EXIT, type ExitCode, type Runner, type Session } from "./session.ts";
import { createPaint } from "./terminal.ts";
import { visible } from "./visible.ts";

interface CheckFlags {
  readonly rows?: number;
  readonly set?: readonly string[];
  readonly cfgOptions?: readonly string[];
}

/** Rows shown where the config does not limit the data set. */
const SHOWN_ROWS = 10;

export function checkDatasetCommand(run: Runner): Command {
  return takesConfig(new Command("check-dataset"))
    .alias("check-custom-dataset")
    .description("Show rows of a config's data at every stage, and say what is wrong with it.")
    .option("--rows <n>", "so many rows, drawn by the seed (default: 10)", wholeFlag(1))
    .addHelpText(
      "after",
      "\nExits with 1 where something is wrong; a warning alone is not.\n\nExample:\n  hone check-dataset my-config.yaml --rows 2",
    )
    .action((config: string, flags: CheckFlags) =>
      run((session) => checkDataset(session, config, flags)),
    );
}

async function checkDataset(session: Session, name: string, flags: CheckFlags): Promise<ExitCode> {
  const { output } = session;
  const { notes, ...request } = await openDataset(output, name, flags);
  const { config } = request;
  const encoding = await openEncoding(request);
  const limit = config.max_dataset_length > 0 ? config.max_dataset_length : SHOWN_ROWS;
  const samples = await drawSamples(request, encoding, flags.rows ?? limit);
  for (const sample of samples) printSample(session, sample);

  // A row that cannot be read is a finding; the others are looked at all the same.
  const options = { ...encoding.options, brokenRows: "drop" } as const;
  const view = await buildDatasetView(request, { ...encoding, options });
  if (config.pack_to_max_length) printPacked(session, view, samples, config);
  const survey = surveyExamples(view.encoded.examples, encoding.opened.tokenizer.bosId);
  const findings = [...faultsOf(notes), ...findFaults(view, config, survey)];
  const lines = view.dataset ? formatFunnel(view.dataset.report) : [];
  const longest = survey.longest.map(
    ({ example, tokens }) => `${formatCount(tokens)} (example ${formatCount(example)})`,
  );
  output.emit("data", { funnel: view.dataset?.report ?? view.encoded.funnel, ...survey });
  output.print(banner("all rows"));
  for (const line of lines) output.print(`${visible(line)}\n`);
  output.print(`Longest, in tokens: ${longest.join(", ")}.\n`);
  return printFindings(session, findings);
}

/** What training does with a word is where XTuner's check-custom-dataset stops. */
export function faultsOf(notes: readonly ConfigNote[]): Finding[] {
  return notes
    .filter(({ text }) => text.includes(UNUSED_COLUMNS))
    .map(({ text }) => ({
      severity: "error",
      problem: text,
      remedy: "Write remove_unused_columns=True, or pack_to_max_length=False.",
    }));
}

function printSample({ output }: Session, sample: Sample): void {
  const { where, raw, conversation, templated, example } = sample;
  output.emit("sample", {
    ...sample,
    example: example && { ...example, ...listsOf(example) },
  });
  const show = (title: string, text: string) => output.print(`${banner(title)}${visible(text)}\n`);
  show(visible(where), JSON.stringify(raw));
  show("dataset after `dataset_map_fn`", turnsOf(conversation));
  if (example === undefined) return;
  show(
    "dataset after adding templates",
    typeof templated === "string" ? templated : turnsOf(templated),
  );
  output.print(banner("encoded input_ids") + listOf(example.inputIds));
  output.print(banner("encoded labels ") + listOf(example.labels));
}

/** The first row that these rows alone are packed into. */
function printPacked(
  { output }: Session,
  { encoded }: DatasetView,
  samples: readonly Sample[],
  config: TrainConfig,
): void {
  const examples = samples.flatMap(({ example }): EncodedExample[] => (example ? [example] : []));
  const options = { ...packOptionsOf(config), evalSplit: 0 };
  const isLearned = examples.some(({ labelTokens }) => labelTokens > 0);
  const row = isLearned
    ? packDataset({ examples, funnel: encoded.funnel }, options).train.at(0)
    : undefined;
  if (row === undefined) return;
  output.emit("packed", listsOf(row));
  output.print(banner("input_ids after packed to max_length") + listOf(row.inputIds));
  output.print(banner("labels after packed to max_length ") + listOf(row.labels));
}

function printFindings({ output }: Session, findings: readonly Finding[]): ExitCode {
  const { red, yellow, green } = createPaint(process.stdout);
  for (const { severity, problem, remedy } of findings) {
    output.emit("finding", { severity, problem, remedy });
    const mark = severity === "error" ? red("Wrong:") : yellow("Doubtful:");
    output.print(`${mark} ${visible(problem)}\n  ${visible(remedy)}\n`);
  }
  const errors = findings.filter(({ severity }) => severity === "error").length;
  const warnings = findings.length - errors;
  output.emit("summary", { errors, warnings });
  if (findings.length === 0) output.print(`${green("Nothing is wrong.")}\n`);
  else output.say(`${errors} wrong, ${warnings} doubtful.`);
  return errors > 0 ? EXIT.failed : EXIT.done;
}

/** A conversation in XTuner's words, a turn a line. */
function turnsOf(conversation: readonly Turn[]): string {
  const turns = conversation.map(({ outputWithLoss, needEosToken, ...turn }) =>
    JSON.stringify({
      ...turn,
      ...(outputWithLoss === undefined ? {} : { output_with_loss: outputWithLoss }),
      ...(needEosToken === undefined ? {} : { need_eos_token: needEosToken }),
    }),
  );
  return `[${turns.join(",\n ")}]`;
}

function listsOf({ inputIds, labels }: Pick<EncodedExample, "inputIds" | "labels">) {
  return { inputIds: [...inputIds], labels: [...labels] };
}
