// hone log-dataset: a row of a config's data set, as the model will be given it. No GPU is needed.
import { Command, Option } from "commander";
import { UsageError } from "../base/error.ts";
import { formatCount } from "../base/format.ts";
import { formatFunnel } from "../data/funnel.ts";
import { buildDatasetView, openEncoding, segmentsOf } from "../engine/datasets/dataset-view.ts";
import { openDataset, takesConfig } from "./config-flags.ts";
import { asText, banner, listOf, maskedText } from "./dataset-print.ts";
import { wholeFlag } from "./flags.ts";
import { EXIT, type ExitCode, type Runner, type Session } from "./session.ts";
import { createPaint, hasColors } from "./terminal.ts";

const SHOWS = ["text", "masked_text", "input_ids", "labels", "all"] as const;

interface LogFlags {
  readonly show: (typeof SHOWS)[number];
  readonly row: number;
  readonly set?: readonly string[];
  readonly cfgOptions?: readonly string[];
}

export function logDatasetCommand(run: Runner): Command {
  return takesConfig(new Command("log-dataset"))
    .description("Print a row of a config's data set as the model will be given it.")
    .addOption(
      new Option("--show <what>", "masked_text is the text with what is learned")
        .choices(SHOWS)
        .default("text"),
    )
    .option("--row <n>", "which row, counted from 0", wholeFlag(0), 0)
    .addHelpText("after", "\nExample:\n  hone log-dataset my-config.yaml --show masked_text")
    .action((config: string, flags: LogFlags) =>
      run((session) => logDataset(session, config, flags)),
    );
}

async function logDataset(session: Session, name: string, flags: LogFlags): Promise<ExitCode> {
  const { output } = session;
  const request = await openDataset(output, name, flags);
  const view = await buildDatasetView(request, await openEncoding(request));
  const row = view.rows.at(flags.row);
  if (row === undefined) {
    throw new UsageError(
      `There is no row ${flags.row}: the data set has ${formatCount(view.rows.length)}, from 0 to ${view.rows.length - 1}.`,
      "Name an earlier row with --row.",
    );
  }
  if (view.dataset) for (const line of formatFunnel(view.dataset.report)) output.say(line);

  const { tokenizer } = view.opened;
  const text = tokenizer.decode(row.inputIds);
  const segments = segmentsOf(row, tokenizer);
  const { inputIds, labels } = row;
  output.emit("row", {
    row: flags.row,
    rows: view.rows.length,
    text,
    segments,
    inputIds: [...inputIds],
    labels: [...labels],
  });
  const isTerminal = process.stdout.isTTY;
  const paint = createPaint(process.stdout);
  const show = (what: LogFlags["show"], title: string, body: () => string) => {
    if (flags.show === what || flags.show === "all") output.print(banner(title) + body());
  };
  show("text", "text", () => asText(text, isTerminal));
  show("masked_text", "text(masked)", () => maskedText(segments, paint, hasColors(process.stdout)));
  show("input_ids", "input_ids", () => listOf(inputIds));
  show("labels", "labels", () => listOf(labels));
  return EXIT.done;
}
