// hone test: the test that a config names, which is MMLU's multiple choice.
import { Command } from "commander";
import { UsageError } from "../base/error.ts";
import { formatStamp } from "../engine/runs/xtuner-format.ts";
import { openFolder } from "../hosts/node.ts";
import { openConfig, takesConfig } from "./config-flags.ts";
import { runMmluTest } from "./mmlu-test.ts";
import { openAdapter, openData, openModel } from "./paths.ts";
import { EXIT, type ExitCode, type Runner, type Session } from "./session.ts";

interface TestFlags {
  readonly checkpoint?: string;
  readonly data?: readonly string[];
  readonly workDir?: string;
  readonly set?: readonly string[];
  readonly cfgOptions?: readonly string[];
}

export function testCommand(run: Runner): Command {
  return takesConfig(new Command("test"))
    .description("Test a model on the multiple-choice questions of a config (MMLU).")
    .option("--checkpoint <folder>", "an adapter, a checkpoint or a work directory to test")
    .option("--data <file...>", "questions instead of the config's test_data")
    .option("--work-dir <folder>", "folder for the accuracies (default: ./work_dirs/NAME)")
    .addHelpText(
      "after",
      "\nA question is a row with input, output (A, B, C or D) and an MMLU subject.",
    )
    .addHelpText(
      "after",
      "\nExample:\n  hone test my-config.yaml --checkpoint work_dirs/my-config --data mmlu_val.json",
    )
    .action((config: string, flags: TestFlags) => run((session) => test(session, config, flags)));
}

/** Of a data set of the hub. */
const TEST_SPLIT = "test";

async function test(session: Session, name: string, flags: TestFlags): Promise<ExitCode> {
  const { output } = session;
  const { config, place, stem } = openConfig(output, name, flags);
  const files = flags.data ?? config.test_data;
  if (files.length === 0) {
    throw new UsageError(
      `${place} names no test_data, and no --data was given.`,
      "Add --data with a file of questions.",
    );
  }
  const adapterPath = flags.checkpoint ?? config.load_from;
  const adapter = adapterPath === "" ? undefined : await openAdapter(adapterPath, output);
  const data = (await openData(files, TEST_SPLIT, output)).flat();
  const on = adapter === undefined ? "without an adapter" : `with ${adapter.path}`;
  output.say(`Testing ${config.model} ${on}.`);
  const report = await runMmluTest(session, {
    model: await openModel(config.model, output),
    ...(adapter && { adapter }),
    quantization: config.quantization,
    computeDtype: config.compute_dtype,
    promptTemplate: config.prompt_template,
    system: config.system,
    maxLength: config.max_length,
    data,
  });
  const workDir = flags.workDir ?? (config.work_dir || `work_dirs/${stem}`);
  const stamp = formatStamp(new Date());
  const file = `${stamp}/${stamp}.json`;
  await openFolder(workDir).write(file, `${JSON.stringify({ mmlu: report }, null, 2)}\n`);
  output.say(`The accuracies are in ${workDir}/${file}.`);
  return EXIT.done;
}
