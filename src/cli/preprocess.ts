// hone preprocess: data sets from what others publish. arXiv's metadata is the only one for text.
import { existsSync } from "node:fs";
import { basename, dirname } from "node:path";
import { Command } from "commander";
import { UsageError, UserError } from "../base/error.ts";
import { filterArxiv, readDay } from "../data/arxiv.ts";
import { openDataSource, openFolder } from "../hosts/node.ts";
import { EXIT, type ExitCode, type Runner, type Session } from "./session.ts";
import { visible } from "./visible.ts";

interface ArxivFlags {
  readonly categories: readonly string[];
  readonly startDate: string;
}

/** Of a broken line, so that a file of another kind does not fill the terminal. */
const SHOWN_CHARACTERS = 500;

export function preprocessCommand(run: Runner): Command {
  return new Command("preprocess")
    .description("Make a data set of what others publish.")
    .addHelpText("after", "\nExample:\n  hone preprocess arxiv arxiv-metadata.json cs-papers.json")
    .addCommand(arxivCommand(run))
    .addCommand(imagesCommand("refcoco", run), { hidden: true });
}

function arxivCommand(run: Runner): Command {
  return new Command("arxiv")
    .description("Keep the papers of some categories from arXiv's metadata, as a JSON list.")
    .argument("<src>", "arXiv's metadata: one JSON object a line")
    .argument("<dst>", "the file to write, for the dataset format arxiv")
    .option("--categories <name...>", "papers in any of these", ["cs.AI", "cs.CL", "cs.CV"])
    .option("--start-date <date>", "papers updated on this day or later", "2020-01-01")
    .addHelpText(
      "after",
      "\nExample:\n  hone preprocess arxiv arxiv-metadata.json papers.json --start-date 2023-01-01",
    )
    .action((src: string, dst: string, flags: ArxivFlags) =>
      run((session) => preprocessArxiv(session, src, dst, flags)),
    );
}

/** A name of XTuner's for pictures, which Hone does not train on. */
export function imagesCommand(name: string, run: Runner): Command {
  return new Command(name)
    .allowUnknownOption()
    .allowExcessArguments()
    .action(() =>
      run(() => {
        throw new UsageError(
          `${name} is about pictures, and Hone trains on text alone.`,
          "Use XTuner for models that see.",
        );
      }),
    );
}

async function preprocessArxiv(
  { output }: Session,
  src: string,
  dst: string,
  { categories, startDate }: ArxivFlags,
): Promise<ExitCode> {
  const since = readDay(startDate);
  if (since === undefined) {
    throw new UsageError(
      `The start date ${JSON.stringify(startDate)} is no day.`,
      "Write it as YYYY-MM-DD, as in --start-date 2020-01-01.",
    );
  }
  if (existsSync(dst)) {
    throw new UserError(`${dst} is there already.`, "Name a new file, or remove that one first.");
  }
  const source = await openDataSource(src);
  let kept = 0;
  let broken = 0;
  const pieces = filterArxiv(source.stream(), {
    place: src,
    categories,
    since,
    onKept: () => kept++,
    onBroken(text, line) {
      broken++;
      const shown = text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text;
      output.say(`Failed to parse line: ${visible(shown.trimEnd())}`);
      output.emit("unreadable", { line, text: shown });
    },
  });
  await openFolder(dirname(dst)).write(basename(dst), encode(pieces));
  output.emit("saved", { path: dst, items: kept, unreadable: broken });
  output.print(`Save to ${dst}\n${kept} items\n`);
  if (broken > 0)
    output.say(
      `Lines that are no JSON, or lack categories or a date, and were left out: ${broken}.`,
    );
  return EXIT.done;
}

async function* encode(pieces: AsyncIterable<string>): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  for await (const piece of pieces) yield encoder.encode(piece);
}
