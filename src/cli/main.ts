#!/usr/bin/env node
// The command line: names to commands, failures to words and exit codes.
//
// 0 done, 1 failed, 2 wrong usage, 75 interrupted with a checkpoint saved, 130 quit with nothing saved, or
// by a second Ctrl-C.
import { Command, CommanderError, Option } from "commander";
import { AbortedError, messageOf, UsageError, UserError } from "../base/error.ts";
import type { TuneMode } from "../engine/tuning/tune.ts";
import type { AdapterChoice } from "../hosts/node-gpu.ts";
import { readWords } from "./arguments.ts";
import { chatCommand } from "./chat.ts";
import { checkDatasetCommand } from "./check-dataset.ts";
import { convertCommand } from "./convert.ts";
import { copyConfigCommand } from "./copy-cfg.ts";
import { demoCommand } from "./demo.ts";
import { downloadCommand } from "./download.ts";
import { doctorCommand } from "./doctor.ts";
import { evalCommand } from "./eval.ts";
import { listConfigsCommand } from "./list-cfg.ts";
import { listFormatsCommand } from "./list-dataset-format.ts";
import { logDatasetCommand } from "./log-dataset.ts";
import { createOutput } from "./output.ts";
import { packageVersion } from "./package-files.ts";
import { imagesCommand, preprocessCommand } from "./preprocess.ts";
import { EXIT, type ExitCode, type Runner } from "./session.ts";
import { createPaint } from "./terminal.ts";
import { testCommand } from "./test.ts";
import { trainCommand } from "./train.ts";

const TUNE_MODES = ["off", "quick", "full"] as const satisfies TuneMode[];

const GPU_CHOICES = ["auto", "gpu", "llvmpipe", "swiftshader"] as const satisfies AdapterChoice[];

interface GlobalFlags {
  readonly json?: true;
  readonly gpu: AdapterChoice;
  readonly tune?: TuneMode;
}

await main();

async function main(): Promise<void> {
  let exitCode: ExitCode = EXIT.done;
  const program = new Command("hone");
  const run: Runner = async (job) => {
    const { json, gpu, tune } = program.opts<GlobalFlags>();
    exitCode = await job({ output: createOutput(json === true), adapter: gpu, tune });
  };
  // A reader that has seen enough (`hone … | head`) is no failure.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(EXIT.done);
    throw error;
  });
  try {
    await describeProgram(program, run).parseAsync(readWords(process.argv.slice(2)), {
      from: "user",
    });
  } catch (error) {
    exitCode = explain(error, process.argv.includes("--json"));
  }
  // Dawn's threads would keep the process alive, so it ends here, with all its words written.
  await Promise.all([process.stdout, process.stderr].map(flush));
  process.exit(exitCode);
}

function describeProgram(program: Command, run: Runner): Command {
  program
    .description("Fine-tune a language model on your own GPU: QLoRA on WebGPU.")
    .version(packageVersion(), "-v, --version", "print the version")
    .option("--json", "print one JSON event a line on stdout")
    .addOption(
      new Option(
        "--gpu <adapter>",
        "what to compute on; auto is a real GPU, else llvmpipe, else SwiftShader",
      )
        .choices(GPU_CHOICES)
        .default("auto")
        .env("HONE_ADAPTER"),
    )
    .addOption(
      new Option(
        "--tune <how>",
        "try kernel variants before work; quick is the default, full takes its time",
      )
        .choices(TUNE_MODES)
        .env("HONE_TUNE"),
    )
    .addHelpText("after", "\nExample:\n  hone demo")
    .addCommand(demoCommand(run))
    .addCommand(trainCommand(run))
    .addCommand(chatCommand(run))
    .addCommand(evalCommand(run))
    .addCommand(testCommand(run))
    .addCommand(convertCommand(run))
    .addCommand(listConfigsCommand(run))
    .addCommand(copyConfigCommand(run))
    .addCommand(listFormatsCommand(run))
    .addCommand(logDatasetCommand(run))
    .addCommand(checkDatasetCommand(run))
    .addCommand(preprocessCommand(run))
    .addCommand(downloadCommand(run))
    .addCommand(doctorCommand(run))
    .addCommand(versionCommand(run), { hidden: true })
    .addCommand(imagesCommand("mmbench", run), { hidden: true })
    .addCommand(imagesCommand("eval_refcoco", run), { hidden: true });
  forEachCommand(program, (command) => {
    command
      .exitOverride()
      // All in 80 columns. Names alone in the list: a long one would leave no room for what they do.
      .configureHelp({
        showGlobalOptions: true,
        minWidthToWrap: 20,
        subcommandTerm: (listed) => listed.name(),
      })
      .configureOutput({ outputError: () => {} }); // `explain` prints what went wrong
  });
  return program;
}

/** XTuner's word for --version. */
function versionCommand(run: Runner): Command {
  return new Command("version").action(() =>
    run(({ output }) => {
      output.print(`${packageVersion()}\n`);
      output.emit("version", { version: packageVersion() });
      return Promise.resolve(EXIT.done);
    }),
  );
}

function forEachCommand(command: Command, visit: (command: Command) => void): void {
  visit(command);
  for (const inner of command.commands) forEachCommand(inner, visit);
}

/** Prints a failure in the words it deserves and gives its exit code. */
function explain(error: unknown, isJson: boolean): ExitCode {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return EXIT.done; // --help, --version
    if (error.code === "commander.help") return EXIT.usage; // no command: help went to stderr
    return complain(
      usageProblem(error),
      "Run hone --help, or hone COMMAND --help, to see what there is.",
      EXIT.usage,
      isJson,
    );
  }
  if (error instanceof UserError) {
    const lines = error.message.split("\n");
    const code = codeOf(error);
    return complain(lines.slice(0, -1).join("\n"), lines.at(-1) ?? "", code, isJson);
  }
  const stack = error instanceof Error ? (error.stack ?? error.message) : messageOf(error);
  return complain(
    stack,
    "This is a bug in Hone. Report it with these lines, the command, and the output of hone doctor.",
    EXIT.failed,
    isJson,
  );
}

function codeOf(error: UserError): ExitCode {
  if (error instanceof AbortedError) return EXIT.killed;
  return error instanceof UsageError ? EXIT.usage : EXIT.failed;
}

function complain(problem: string, remedy: string, code: ExitCode, isJson: boolean): ExitCode {
  const { red } = createPaint(process.stderr);
  if (process.stderr.isTTY) process.stderr.write("\r\u001b[2K"); // a progress bar may stand there
  process.stderr.write(`${red("Error:")} ${problem}\n${remedy}\n`);
  const event = { type: "error", problem, remedy, exitCode: code };
  if (isJson) process.stdout.write(`${JSON.stringify(event)}\n`);
  return code;
}

/** "error: unknown option '--foo'\n(Did you mean --bar?)" → a sentence. */
function usageProblem({ message }: CommanderError): string {
  const text = message.replace(/^error: /, "").replaceAll(/\s*\n\s*/g, " ");
  const sentence = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.)?]$/.test(sentence) ? sentence : `${sentence}.`;
}

function flush(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    stream.write("", () => resolve());
  });
}
