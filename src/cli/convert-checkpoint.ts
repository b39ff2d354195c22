// hone convert pth_to_hf: XTuner's command and arguments, for its own checkpoints and for ours.
import { existsSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { Command } from "commander";
import { messageOf, UserError } from "../base/error.ts";
import type { TrainConfig } from "../config.ts";
import type { Engine } from "../engine.ts";
import { openFolder } from "../hosts/node.ts";
import { readXtunerConfig } from "../xtuner/read-xtuner-config.ts";
import { loadConfigText } from "./config-zoo.ts";
import { exportAdapter, sayExport, withFiles } from "./export-words.ts";
import { bytesFlag, numberFlag } from "./flags.ts";
import { hubBaseOf } from "./hub.ts";
import { loadConfig } from "./load-config.ts";
import { openNewFolder } from "./paths.ts";
import { EXIT, type ExitCode, type Runner, type Session, withEngine } from "./session.ts";

interface CheckpointFlags {
  readonly fp32?: true;
  readonly alpha?: number;
  readonly dropout?: number;
  readonly cfgOptions?: readonly string[];
}

interface CheckpointJob {
  /** A path, or the name of a ready-made config. */
  readonly config: string | undefined;
  readonly checkpoint: string;
  readonly output: string;
  readonly flags: CheckpointFlags;
}

export function checkpointCommand(run: Runner): Command {
  return new Command("pth_to_hf")
    .description(
      "Write the adapter of a checkpoint as a PEFT folder: of XTuner's iter_N.pth, or of a run of Hone.",
    )
    .argument("<paths...>", "[CONFIG] CHECKPOINT OUTPUT")
    .usage("[CONFIG] CHECKPOINT OUTPUT")
    .option("--fp32", "keep the matrices in float32; without it they become float16")
    .option("--cfg-options <key=value...>", "change options of the config, in XTuner's words")
    .option(
      "--alpha <number>",
      "lora_alpha of the run, where no config is known",
      numberFlag(1e-9, 1e9),
    )
    .option("--dropout <number>", "lora_dropout of the run, with --alpha", numberFlag(0, 0.999))
    .option("--max-shard-size <size>", "as XTuner takes it; an adapter is one file", bytesFlag)
    .addHelpText(
      "after",
      "\nCONFIG is needed where an iter_N.pth does not carry it; a checkpoint of Hone\nneeds none.\n\nExample:\n  hone convert pth_to_hf my-config.py work_dirs/my-run/iter_768.pth ./adapter",
    )
    .action((paths: readonly string[], flags: CheckpointFlags, command: Command) => {
      const [checkpoint, output] = paths.slice(-2);
      if (checkpoint === undefined || output === undefined || paths.length > 3) {
        command.error(
          `error: expected CHECKPOINT and OUTPUT, and ${paths.length} paths were given`,
        );
      }
      const config = paths.length === 3 ? paths[0] : undefined;
      return run((session) => convert(session, { config, checkpoint, output, flags }));
    });
}

async function convert(session: Session, job: CheckpointJob): Promise<ExitCode> {
  await withEngine(session, (engine) =>
    isPickled(job.checkpoint)
      ? convertPickled(session, engine, job)
      : convertOwn(session, engine, job),
  );
  return EXIT.done;
}

/** A checkpoint of Hone, or an adapter: it says all of itself, so that a config can only be compared. */
async function convertOwn(session: Session, engine: Engine, job: CheckpointJob): Promise<void> {
  const { alpha, dropout, cfgOptions } = job.flags;
  const config =
    job.config === undefined
      ? undefined
      : loadConfig(job.config, cfgOptions ? { cfgOptions } : {}).config;
  const idle = [
    ...(alpha === undefined ? [] : ["--alpha"]),
    ...(dropout === undefined ? [] : ["--dropout"]),
    ...(cfgOptions === undefined ? [] : ["--cfg-options"]),
  ];
  for (const flag of idle) {
    session.output.say(`${flag} changes nothing here: ${job.checkpoint} carries its own settings.`);
  }
  await exportAdapter(session, engine, job.checkpoint, job.output, copyOf(job.config), {
    ...(config && { config }),
    dtype: job.flags.fp32 ? "F32" : "F16",
  });
  sayType(session, job);
}

/** A file, or the folder that DeepSpeed makes in its stead. A checkpoint of Hone is a folder of another kind. */
function isPickled(checkpoint: string): boolean {
  if (!existsSync(checkpoint)) return false;
  if (statSync(checkpoint).isFile()) return true;
  return ["mp_rank_00_model_states.pt", "zero_pp_rank_0_mp_rank_00_model_states.pt"].some((name) =>
    existsSync(join(checkpoint, name)),
  );
}

/** What XTuner leaves beside an adapter: the config, where it is in its form. */
function copyOf(config: string | undefined): Readonly<Record<string, string>> {
  if (config === undefined) return {};
  const { text } = loadConfigText(config);
  return config.endsWith(".py") ? { "xtuner_config.py": text } : {};
}

async function convertPickled(session: Session, engine: Engine, job: CheckpointJob): Promise<void> {
  const { output } = session;
  const { flags, checkpoint } = job;
  const folder = openFolder(dirname(checkpoint));
  const name = basename(checkpoint);
  const known = await findConfig(session, engine, job);
  const base = known.config && hubBaseOf(known.config.model);
  const written = await openNewFolder(job.output);
  const summary = await engine.convertCheckpoint({
    folder,
    name,
    output: written,
    isFloat32: flags.fp32 === true,
    ...(known.config && { config: known.config }),
    ...(base && { base }),
    ...(flags.alpha !== undefined && { alpha: flags.alpha }),
    ...(flags.dropout !== undefined && { dropout: flags.dropout }),
    ...(known.config &&
      existsSync(known.config.model) && { model: openFolder(known.config.model) }),
  });
  sayExport(output, job.output, await withFiles(summary, written, known.files));
  sayType(session, job);
}

function sayType({ output }: Session, { flags }: CheckpointJob): void {
  output.say(
    `The matrices are in ${flags.fp32 ? "float32" : "float16, as XTuner writes them; --fp32 keeps float32"}. They are written as safetensors, which PEFT reads alike: no pickle is written.`,
  );
}

/** The run's config: the one that is named, else the one in the checkpoint; neither with --alpha. */
async function findConfig(
  { output }: Session,
  engine: Engine,
  { config: named, checkpoint, flags }: CheckpointJob,
): Promise<{ config?: TrainConfig; files: Readonly<Record<string, string>> }> {
  const files = copyOf(named);
  if (flags.alpha !== undefined) return { files };
  const { cfgOptions = [] } = flags;
  if (named !== undefined) {
    // What its notes are about has no say in an adapter.
    return { config: loadConfig(named, { cfgOptions }).config, files };
  }
  const folder = openFolder(dirname(checkpoint));
  const text = await engine.readCheckpointConfig(folder, basename(checkpoint));
  if (text === undefined) return { files };
  output.say("The config is the one that the checkpoint carries.");
  try {
    const { config } = readXtunerConfig(text, `the config in ${checkpoint}`, { cfgOptions });
    return { config, files: { "xtuner_config.py": text } };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    throw new UserError(
      `The config that ${checkpoint} carries cannot be read. ${messageOf(error)}`,
      "Name the run's config before the checkpoint, or give --alpha.",
      { cause: error },
    );
  }
}
