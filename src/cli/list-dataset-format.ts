// hone list-dataset-format: the names that dataset_format takes, printed as XTuner prints its own, and their rows.
import { Command } from "commander";
import { DATASET_FORMATS, describeFormat, XTUNER_DATASET_FORMATS } from "../data/formats.ts";
import { EXIT, type ExitCode, type Runner, type Session } from "./session.ts";

const TITLE = "======================DATASET_FORMAT======================";

export function listFormatsCommand(run: Runner): Command {
  return new Command("list-dataset-format")
    .description("List the dataset formats: XTuner's twenty, then Hone's own.")
    .option("--rows", "show what a row of each looks like")
    .addHelpText("after", "\nExample:\n  hone list-dataset-format --rows")
    .action(({ rows }: { readonly rows?: true }) =>
      run((session) => printFormats(session, rows === true)),
    );
}

function printFormats({ output }: Session, withRows: boolean): Promise<ExitCode> {
  for (const name of DATASET_FORMATS) {
    const isXtuner = XTUNER_DATASET_FORMATS.includes(name);
    output.emit("dataset_format", { name, xtuner: isXtuner, ...describeFormat(name) });
  }
  const lines = DATASET_FORMATS.flatMap((name) => {
    const { looks, example } = describeFormat(name);
    return withRows ? [name, `    ${looks}`, `    ${JSON.stringify(example)}`] : [name];
  });
  output.print([TITLE, ...lines, "=".repeat(TITLE.length), ""].join("\n"));
  if (!withRows) output.say("--rows shows what a row of each looks like; docs/data.md says more.");
  return Promise.resolve(EXIT.done);
}
