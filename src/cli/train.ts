// hone train: a config and data to an adapter.
import { existsSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { Command, Option } from "commander";
import { AbortedError, messageOf, UsageError, UserError } from "../base/error.ts";
import { ALL_OPTIONS, type TrainConfig } from "../config.ts";
import type { RunSummary, TrainRequest } from "../engine.ts";
import { refuseUsedFolder } from "../engine/runs/used-folder.ts";
import { openFolder } from "../hosts/node.ts";
import { openConfig } from "./config-flags.ts";
import { hubBaseOf } from "./hub.ts";
import { formatsOfFiles, openAdapter, openData, openModel, pathIn } from "./paths.ts";
import {
  EXIT,
  type ExitCode,
  type Runner,
  type Session,
  untilStopped,
  withEngine,
} from "./session.ts";
import { wrapWords } from "./terminal.ts";
import { formatForecast, formatSummary, reportTraining } from "./train-report.ts";

interface TrainFlags {
  readonly workDir?: string;
  readonly resume?: string | true;
  readonly set?: readonly string[];
  readonly cfgOptions?: readonly string[];
  readonly seed?: string;
  readonly dryRun?: true;
  readonly deepspeed?: string;
  readonly launcher?: string;
  readonly localRank?: string;
}

export function trainCommand(run: Runner): Command {
  return (
    new Command("train")
      .description("Fine-tune a model as a config says. Ctrl-C saves a checkpoint and stops.")
      .argument(
        "<config>",
        "a YAML file, a .py file of XTuner, or the name of a ready-made config (hone list-cfg)",
      )
      .option("--work-dir <folder>", "folder for checkpoints and logs (default: ./work_dirs/NAME)")
      .option(
        "--resume [checkpoint]",
        "go on from a checkpoint, by default the newest complete one",
      )
      .option("--set <key=value...>", "change options of the config, as in --set lr=1e-4 lora.r=8")
      .option(
        "--cfg-options <key=value...>",
        "the same on a .py file, in XTuner's words and places",
      )
      .option("--seed <number>", "short for --set seed=NUMBER")
      .option("--dry-run", "say what the run would be, and write nothing")
      // What XTuner's users have in their commands; one GPU needs none of it.
      .addOption(new Option("--deepspeed <config>").hideHelp())
      .addOption(new Option("--launcher <how>").hideHelp())
      .addOption(new Option("--local-rank <number>").hideHelp())
      .addHelpText("after", `\nOptions of a config:\n${formatOptions()}`)
      .addHelpText("after", "\nExample:\n  hone train my-config.yaml --set max_steps=100")
      .action((config: string, flags: TrainFlags) =>
        run((session) => trainFromFlags(session, config, flags)),
      )
  );
}

async function trainFromFlags(
  session: Session,
  configName: string,
  flags: TrainFlags,
): Promise<ExitCode> {
  const { output } = session;
  checkLaunch(session, flags);
  const seed = flags.seed === undefined ? [] : [`seed=${flags.seed}`];
  const { config, source, stem } = openConfig(output, configName, {
    set: [...(flags.set ?? []), ...seed],
    cfgOptions: flags.cfgOptions ?? [],
  });
  const workDir = flags.workDir ?? (config.work_dir || `work_dirs/${stem}`);
  refuseFile(workDir, flags.workDir === undefined ? "work_dir" : "--work-dir");
  const resume =
    flags.resume === undefined ? {} : { resume: checkpointName(flags.resume, workDir) };
  const job = { config, workDir, source, ...resume };
  if (flags.dryRun) return forecast(session, job);
  const summary = await train(session, job).catch((error: unknown) => {
    // Stopped before it went on: what it was to go on from is still there.
    if (error instanceof AbortedError && flags.resume !== undefined) return undefined;
    throw error;
  });
  if (summary === undefined || summary.endedBy === "stopped") {
    output.say(`Go on with: hone train ${configName} --work-dir ${workDir} --resume`);
    return EXIT.interrupted;
  }
  const checkpoint = pathIn(openFolder(workDir), summary.checkpoint);
  output.say(`The adapter is in ${checkpoint}. Talk to it with:`);
  output.say(`  hone chat ${config.model} --adapter ${checkpoint}`);
  return EXIT.done;
}

/** Refuses a work directory that cannot come to be, before anything is opened. `name` is where it was given. */
export function refuseFile(workDir: string, name: string): void {
  let place = resolve(workDir);
  while (!existsSync(place)) place = dirname(place);
  if (statSync(place).isDirectory()) return;
  throw new UserError(
    place === resolve(workDir)
      ? `${name} ${workDir} is a file, and a run needs a folder.`
      : `${name} ${workDir} cannot be made: ${place} is a file.`,
    `Name another folder with --work-dir.`,
  );
}

/** XTuner's flags for many GPUs: taken where they ask for nothing, with a word; refused where they do. */
function checkLaunch({ output }: Session, { deepspeed, launcher, localRank }: TrainFlags): void {
  if (launcher !== undefined && launcher !== "none") {
    throw new UsageError(
      `--launcher ${launcher} is for several GPUs; Hone trains on one.`,
      "Leave it out.",
    );
  }
  if (localRank !== undefined && localRank !== "0" && localRank !== "-1") {
    throw new UsageError(`--local-rank ${localRank}: Hone trains on one GPU.`, "Leave it out.");
  }
  if (deepspeed !== undefined) {
    output.say(
      `--deepspeed ${deepspeed} is not needed: the run is on one GPU, and its memory is planned.`,
    );
  }
}

export interface TrainJob {
  readonly config: TrainConfig;
  readonly workDir: string;
  /** The config file as it was written. */
  readonly source?: TrainRequest["source"];
  readonly resume?: string;
}

/** Runs a training job to its end or to the first Ctrl-C, showing how it goes. */
export async function train(session: Session, job: TrainJob): Promise<RunSummary> {
  const { output } = session;
  try {
    const request = await openRun(session, job);
    output.say(`Training ${job.config.model} into ${job.workDir}`);
    const summary = await untilStopped(session, (signal) =>
      withEngine(session, (engine) => engine.train({ ...request, signal })),
    );
    output.emit("summary", { ...summary });
    output.say(formatSummary(summary, job.config.compat !== "none"));
    return summary;
  } catch (error) {
    throw inWordsOfTrain(error);
  }
}

/** Says what a job would be, or why it would be refused, by all that training does before its first step. */
async function forecast(session: Session, job: TrainJob): Promise<ExitCode> {
  const { output } = session;
  try {
    const request = await openRun(session, job);
    const work = (signal: AbortSignal) =>
      withEngine(session, (engine) => engine.dryRun({ ...request, signal }));
    const found = await untilStopped(session, work, "Stopping.");
    output.emit("forecast", found);
    output.print(
      formatForecast(found, job.config)
        .map((line) => `${line}\n`)
        .join(""),
    );
    output.say("Nothing was written.");
    return EXIT.done;
  } catch (error) {
    throw inWordsOfTrain(error);
  }
}

/** Opens what a job names, and refuses a work directory with an earlier run in it. */
async function openRun(
  { output }: Session,
  { config, workDir, source, resume }: TrainJob,
): Promise<Omit<TrainRequest, "signal">> {
  const isXtuner = config.compat !== "none";
  // XTuner tells of whole paths, and writes them into last_checkpoint.
  const folder = openFolder(isXtuner ? resolve(workDir) : workDir);
  // Before anything is opened that may be missing for reasons of its own.
  if (resume === undefined) await refuseUsedFolder(folder);
  // The data first: a mistake in it is found before a large model comes.
  const files = await openData(config.data, config.split, output);
  const begins = resume === undefined && config.load_from !== "";
  const loadFrom = begins ? { loadFrom: await openAdapter(config.load_from, output) } : {};
  const model = await openModel(config.model, output);
  const base = hubBaseOf(config.model);
  const formats = { dataset_format: formatsOfFiles(config.dataset_format, files) };
  return {
    config: { ...config, ...formats },
    model,
    ...(base && { base }),
    data: files.flat(),
    workDir: folder,
    ...loadFrom,
    ...(source && { source }),
    ...(resume === undefined ? {} : { resume }),
    onEvent: reportTraining(output, { loggingSteps: config.logging_steps, isXtuner }),
  };
}

/** What to do about a failure of the engine, on this command's line. */
const REMEDIES: Readonly<Record<string, string>> = {
  UsedFolderError:
    "Add --resume to go on with it, or --work-dir with another folder to start anew.",
  NoCheckpointError: "Train without --resume, or give the --work-dir of the run to resume.",
  DamagedCheckpointError: "Resume from an earlier checkpoint, with --resume and its folder's name.",
  DeviceLostError: "Run the same command with --resume to continue from the last checkpoint.",
};

function inWordsOfTrain(error: unknown): unknown {
  const remedy = error instanceof UserError ? REMEDIES[error.name] : undefined;
  if (remedy === undefined) return error;
  const [problem = ""] = messageOf(error).split("\n");
  return new UserError(problem, remedy, { cause: error });
}

/** "work_dirs/x/iter_30" and "iter_30" as they are, where they are in the work directory; no name → "last". */
function checkpointName(given: string | true, workDir: string): string {
  if (given === true) return "last";
  const folder = dirname(given);
  if (folder === "." || resolve(folder) === resolve(workDir)) return given;
  throw new UserError(
    `The checkpoint ${given} is not in the work directory ${workDir}.`,
    `Add --work-dir ${folder}.`,
  );
}

const HELP_COLUMNS = 80;

/** The table of options for --help: a name and, beside it, what it does, takes and is by default. */
function formatOptions(): string {
  const column = Math.max(...ALL_OPTIONS.map(({ path }) => path.length)) + 3;
  return ALL_OPTIONS.map(({ path, option }) => {
    const { field, unit } = option;
    const notes = [
      ...(field.kind === "choice" && field.words.length > 1 ? [field.words.join(", ")] : []),
      option.isRequired ? "required" : `default ${JSON.stringify(option.default)}`,
      ...(unit === undefined ? [] : [`in ${unit}`]),
    ];
    const lines = wrapWords(`${option.help} (${notes.join("; ")})`, HELP_COLUMNS - column);
    return `${`  ${path} `.padEnd(column)}${lines.join(`\n${" ".repeat(column)}`)}`;
  }).join("\n");
}
