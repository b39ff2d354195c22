// hone eval: how well a model predicts the answers in a data file.
import { Command, Option } from "commander";
import { UsageError } from "../base/error.ts";
import { formatCount } from "../base/format.ts";
import type { EvalReport, LoadRequest } from "../engine.ts";
import { kvCacheFlag } from "./chat-flags.ts";
import { wholeFlag } from "./flags.ts";
import { runMmluTest } from "./mmlu-test.ts";
import { showLoading } from "./open-chat.ts";
import { formatsOfFiles, openAdapter, openData, openModel } from "./paths.ts";
import {
  EXIT,
  type ExitCode,
  type Runner,
  type Session,
  STOPPING_WORK,
  untilStopped,
  withEngine,
} from "./session.ts";

interface EvalFlags {
  readonly metric: "loss" | "mmlu";
  readonly adapter?: string;
  readonly data: readonly string[];
  readonly split: string;
  readonly datasetFormat: string;
  readonly promptTemplate?: string;
  readonly system?: string;
  readonly maxLength: number;
  readonly bits?: number;
  readonly kvCache: NonNullable<LoadRequest["kvCache"]>;
}

export function evalCommand(run: Runner): Command {
  return new Command("eval")
    .description("Measure loss, perplexity and token accuracy on a data file, example by example.")
    .argument("<model>", "a model's folder, its id on the hub, or seedling")
    .requiredOption(
      "--data <file...>",
      "files of examples, or of questions for mmlu; data sets of the hub too",
    )
    .option("--split <name>", "split of a data set of the hub", "test")
    .addOption(
      new Option("--metric <name>", "what is measured; mmlu is multiple choice, as XTuner's metric")
        .choices(["loss", "mmlu"])
        .default("loss"),
    )
    .option(
      "--adapter <folder>",
      "an adapter, a checkpoint or a work directory to put on the model",
    )
    .option("--dataset-format <name>", "as in a config", "auto")
    .option(
      "--prompt-template <name>",
      "as in a config (default: the adapter's or the model's own)",
    )
    .option("--system <text>", "system message for examples that have none")
    .option("--max-length <tokens>", "longer examples are cut", wholeFlag(8), 2048)
    .option("--bits <4>", "quantize the weights to 4-bit NF4, as in training", wholeFlag(4, 4))
    .addOption(kvCacheFlag())
    .addHelpText(
      "after",
      "\nExample:\n  hone eval seedling --adapter work_dirs/demo/adapter --data test.jsonl",
    )
    .action((model: string, flags: EvalFlags) =>
      run((session) =>
        flags.metric === "mmlu"
          ? evaluateChoices(session, model, flags)
          : evaluate(session, model, flags),
      ),
    );
}

async function evaluateChoices(
  session: Session,
  model: string,
  flags: EvalFlags,
): Promise<ExitCode> {
  if (flags.datasetFormat !== "auto") {
    throw new UsageError(
      "--metric mmlu reads questions (input, output and subject), and --dataset-format was given.",
      "Leave --dataset-format out.",
    );
  }
  await runMmluTest(session, {
    ...(await loadRequest(session, model, flags)),
    ...(flags.system === undefined ? {} : { system: flags.system }),
    data: (await openData(flags.data, flags.split, session.output)).flat(),
    maxLength: flags.maxLength,
  });
  return EXIT.done;
}

async function loadRequest(
  { output }: Session,
  model: string,
  flags: EvalFlags,
): Promise<LoadRequest> {
  const adapter =
    flags.adapter === undefined ? undefined : await openAdapter(flags.adapter, output);
  return {
    model: await openModel(model, output),
    quantization: flags.bits === 4 ? "nf4" : "none",
    kvCache: flags.kvCache,
    ...(adapter === undefined ? {} : { adapter }),
    ...(flags.promptTemplate === undefined ? {} : { promptTemplate: flags.promptTemplate }),
  };
}

async function evaluate(session: Session, model: string, flags: EvalFlags): Promise<ExitCode> {
  const { output } = session;
  const request = await loadRequest(session, model, flags);
  const files = await openData(flags.data, flags.split, output);
  let hasHeader = false;
  const work = (signal: AbortSignal) =>
    withEngine(session, (engine) =>
      engine.evaluate({
        ...request,
        signal,
        ...(flags.system === undefined ? {} : { system: flags.system }),
        data: files.flat(),
        datasetFormat: formatsOfFiles(flags.datasetFormat, files),
        maxLength: flags.maxLength,
        ...showLoading(output),
        onExample(example) {
          output.emit("example", { ...example });
          if (!hasHeader) output.print("   row  tokens     loss  perplexity  accuracy\n");
          hasHeader = true;
          output.print(formatRow(String(example.row), example));
        },
      }),
    );
  const report = await untilStopped(session, work, STOPPING_WORK);
  output.emit("summary", { ...report });
  output.print(formatRow("all", report));
  output.say(`${formatCount(report.examples)} examples.`);
  return EXIT.done;
}

function formatRow(name: string, report: EvalReport): string {
  const cells = [
    name.padStart(6),
    formatCount(report.labelTokens).padStart(6),
    report.loss.toFixed(4).padStart(7),
    report.perplexity.toFixed(3).padStart(10),
    `${(100 * report.tokenAccuracy).toFixed(1)} %`.padStart(8),
  ];
  return `${cells.join("  ")}\n`;
}
