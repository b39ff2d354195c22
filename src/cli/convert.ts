// hone convert: what training left behind into what other programs read.
import { Command, Option } from "commander";
import { UsageError } from "../base/error.ts";
import type { Engine, MergeRequest, QuantizeRequest } from "../engine.ts";
import { checkpointCommand } from "./convert-checkpoint.ts";
import { exportAdapter, sayExport } from "./export-words.ts";
import { bytesFlag } from "./flags.ts";
import { openAdapter, openModel, openNewFolder } from "./paths.ts";
import { formatLoadingBar } from "./progress.ts";
import { EXIT, type ExitCode, type Runner, type Session, withEngine } from "./session.ts";

interface WeightFlags {
  readonly maxShardSize: number;
  readonly dtype?: NonNullable<MergeRequest["dtype"]>;
}

interface BnbFlags {
  readonly maxShardSize: number;
  readonly doubleQuant: boolean;
  readonly quantStorage: NonNullable<QuantizeRequest["quantStorage"]>;
}

interface MergeFlags extends WeightFlags {
  readonly base: NonNullable<MergeRequest["base"]>;
  /** XTuner's. */
  readonly device?: string;
  readonly isClip?: true;
}

export function convertCommand(run: Runner): Command {
  return new Command("convert")
    .description(
      "Export an adapter, merge it into its model, or write a model in another form. All is checked after writing.",
    )
    .addHelpText("after", "\nExample:\n  hone convert merge seedling work_dirs/demo/train ./merged")
    .addCommand(adapterCommand(run))
    .addCommand(checkpointCommand(run))
    .addCommand(mergeCommand(run))
    .addCommand(hfCommand(run))
    .addCommand(bnbCommand(run))
    .addCommand(llamaCommand(run))
    .addCommand(splitCommand(run));
}

function adapterCommand(run: Runner): Command {
  return new Command("adapter")
    .description("Write a checkpoint's adapter as a PEFT folder of its own.")
    .argument("<checkpoint>", "a checkpoint's folder, or a work directory for its newest")
    .argument("<output>", "a new folder")
    .addHelpText("after", "\nExample:\n  hone convert adapter work_dirs/demo/train ./adapter")
    .action((checkpoint: string, output: string) =>
      run((session) => convertAdapter(session, checkpoint, output)),
    );
}

function mergeCommand(run: Runner): Command {
  return new Command("merge")
    .description("Write the model with the adapter added to its weights.")
    .argument("<model>", "a model's folder, its id on the hub, or seedling")
    .argument("<adapter>", "an adapter, a checkpoint or a work directory")
    .argument("<output>", "a new folder")
    .addOption(shardOption())
    .addOption(dtypeOption())
    .addOption(
      new Option(
        "--base <which>",
        "add to the weights of the file, or to what training saw of them",
      )
        .choices(["original", "nf4"])
        .default("original"),
    )
    .addOption(
      new Option(
        "--device <device>",
        "taken for XTuner's sake: the GPU is chosen by --gpu",
      ).choices(["cuda", "cpu", "auto"]),
    )
    .addOption(new Option("--is-clip", "of XTuner; there is no CLIP here").hideHelp())
    .addHelpText(
      "after",
      "\nXTuner merges into float16; --dtype float16 does the same.\n\nExample:\n  hone convert merge seedling ./adapter ./merged",
    )
    .action((model: string, adapter: string, output: string, flags: MergeFlags) =>
      run((session) => convertMerge(session, { model, adapter, output, flags })),
    );
}

function hfCommand(run: Runner): Command {
  return new Command("hf")
    .description(
      "Write a base as a Hugging Face folder of plain weights: from GGUF, or from bitsandbytes' 4 bits.",
    )
    .argument("<model>", "a GGUF file or a model's folder")
    .argument("<output>", "a new folder")
    .addOption(shardOption())
    .addOption(dtypeOption())
    .addHelpText(
      "after",
      "\nExample:\n  hone convert hf model.Q4_K_M.gguf ./model --dtype bfloat16",
    )
    .action((model: string, output: string, flags: WeightFlags) =>
      run((session) => convertModel(session, { model, output, form: "own", flags })),
    );
}

function bnbCommand(run: Runner): Command {
  return new Command("bnb")
    .description("Write a base in bitsandbytes' 4 bits (NF4), as transformers loads it.")
    .argument("<model>", "a model's folder, or a GGUF file")
    .argument("<output>", "a new folder")
    .option("--no-double-quant", "keep the scales in f32 instead of 8 bits")
    .addOption(
      new Option("--quant-storage <type>", "type that the packed codes are stored in")
        .choices(["uint8", "bfloat16", "float16", "float32"] satisfies BnbFlags["quantStorage"][])
        .default("uint8"),
    )
    .addOption(shardOption())
    .addHelpText("after", "\nExample:\n  hone convert bnb ./Llama-3.2-1B ./Llama-3.2-1B-bnb-4bit")
    .action((model: string, output: string, flags: BnbFlags) =>
      run((session) => convertBnb(session, model, output, flags)),
    );
}

async function convertBnb(
  session: Session,
  model: string,
  output: string,
  flags: BnbFlags,
): Promise<ExitCode> {
  await withEngine(session, async (engine) => {
    const say = session.output;
    const summary = await engine.quantizeModel({
      model: await openModel(model, session.output),
      output: await openNewFolder(output),
      doubleQuant: flags.doubleQuant,
      quantStorage: flags.quantStorage,
      maxShardBytes: flags.maxShardSize,
      onProgress: (bytes, total) => say.status(formatLoadingBar(bytes, total, say.columns)),
    });
    sayExport(say, output, summary);
  });
  return EXIT.done;
}

function llamaCommand(run: Runner): Command {
  return new Command("llama")
    .description(
      "Write an InternLM2 model, or with --adapter an adapter for it, in the form of a Llama.",
    )
    .argument("<model>", "an InternLM2 model's folder")
    .argument("<output>", "a new folder")
    .option("--adapter <folder>", "write this adapter for the Llama instead of the model")
    .addOption(shardOption())
    .addOption(dtypeOption())
    .addHelpText("after", "\nExample:\n  hone convert llama internlm2-chat-1_8b ./as-llama")
    .action((model: string, output: string, flags: WeightFlags & { readonly adapter?: string }) =>
      run((session) =>
        flags.adapter === undefined
          ? convertModel(session, { model, output, form: "llama", flags })
          : convertForLlama(session, model, flags.adapter, output),
      ),
    );
}

function splitCommand(run: Runner): Command {
  return new Command("split")
    .description("Write a model with every tensor in a file of its own, as XTuner's split does.")
    .argument(
      "<model>",
      "a model's folder: safetensors, or pytorch_model.bin, which becomes safetensors",
    )
    .argument("<output>", "a new folder")
    .addHelpText("after", "\nExample:\n  hone convert split ./internlm2-chat-1_8b ./pieces")
    .action((model: string, output: string) =>
      run(async (session) => {
        await withEngine(session, async (engine) => {
          const source = await openModel(model, session.output);
          const summary = await engine.splitModel(source, await openNewFolder(output));
          sayExport(session.output, output, summary);
        });
        return EXIT.done;
      }),
    );
}

function shardOption(): Option {
  return new Option("--max-shard-size <size>", "largest file, as in 2GB or 500MiB")
    .argParser(bytesFlag)
    .default(2e9, "2GB");
}

function dtypeOption(): Option {
  return new Option(
    "--dtype <type>",
    "type of the written weights (default: the model's own)",
  ).choices(["float32", "float16", "bfloat16"]);
}

interface ConvertJob {
  readonly model: string;
  readonly output: string;
  readonly form: "own" | "llama";
  readonly flags: WeightFlags;
}

async function convertModel(session: Session, job: ConvertJob): Promise<ExitCode> {
  const { output } = session;
  await withEngine(session, async (engine) => {
    const { maxShardSize, dtype } = job.flags;
    const summary = await engine.convertModel({
      model: await openModel(job.model, output),
      output: await openNewFolder(job.output),
      form: job.form,
      maxShardBytes: maxShardSize,
      ...(dtype === undefined ? {} : { dtype }),
      onProgress: (bytes, total) => output.status(formatLoadingBar(bytes, total, output.columns)),
    });
    sayExport(output, job.output, summary);
  });
  return EXIT.done;
}

async function convertForLlama(
  session: Session,
  model: string,
  adapter: string,
  output: string,
): Promise<ExitCode> {
  await withEngine(session, async (engine) => {
    const summary = await engine.convertAdapter({
      model: await openModel(model, session.output),
      adapter: await openAdapter(adapter, session.output),
      output: await openNewFolder(output),
    });
    sayExport(session.output, output, summary);
  });
  return EXIT.done;
}

async function convertAdapter(
  session: Session,
  checkpoint: string,
  output: string,
): Promise<ExitCode> {
  await withEngine(session, (engine) => exportAdapter(session, engine, checkpoint, output));
  return EXIT.done;
}

interface MergeJob {
  readonly model: string;
  readonly adapter: string;
  readonly output: string;
  readonly flags: MergeFlags;
}

async function convertMerge(session: Session, job: MergeJob): Promise<ExitCode> {
  const { device, isClip, dtype } = job.flags;
  if (isClip) {
    throw new UsageError(
      "--is-clip is for picture encoders, and Hone merges language models alone.",
      "Merge it with XTuner.",
    );
  }
  if (device !== undefined) {
    const type = dtype === undefined ? "; XTuner's float16 is --dtype float16" : "";
    session.output.say(
      `--device ${device} changes nothing: --gpu chooses where sums are made${type}.`,
    );
  }
  await withEngine(session, (engine) => merge(session, engine, job));
  return EXIT.done;
}

/** Merges and says what was written. */
export async function merge({ output }: Session, engine: Engine, job: MergeJob): Promise<void> {
  const { maxShardSize, dtype, base } = job.flags;
  const summary = await engine.merge({
    model: await openModel(job.model, output),
    adapter: await openAdapter(job.adapter, output),
    output: await openNewFolder(job.output),
    base,
    maxShardBytes: maxShardSize,
    ...(dtype === undefined ? {} : { dtype }),
    onProgress: (bytes, total) => output.status(formatLoadingBar(bytes, total, output.columns)),
  });
  sayExport(output, job.output, summary);
}
