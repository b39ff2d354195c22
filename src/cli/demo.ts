// hone demo: the whole job on the built-in model, through the functions that the commands call.
//
// Data, answers before, training, adapter, merged weights, answers of those weights, and a verdict.
import { join } from "node:path";
import { Command } from "commander";
import { UserError } from "../base/error.ts";
import { formatBytes, formatCount, formatDuration } from "../base/format.ts";
import { readConfig } from "../config/read.ts";
import type { Engine, SamplingOptions } from "../engine.ts";
import { openFolder } from "../hosts/node.ts";
import { loadConfigText } from "./config-zoo.ts";
import { merge } from "./convert.ts";
import { exportAdapter } from "./export-words.ts";
import { DEMO_ANSWER, DEMO_EVALUATION_QUESTIONS, demoDataset } from "./demo-data.ts";
import { openChat } from "./open-chat.ts";
import { openModel } from "./paths.ts";
import { EXIT, type ExitCode, type Runner, type Session, withEngine } from "./session.ts";
import { train } from "./train.ts";
import { indent } from "./train-report.ts";

const CONFIG = "seedling_qlora_identity_demo";
const DATA = "personal_assistant.json";
// Where a run of the demo puts its results; each run starts by removing the last one's.
const RESULTS = ["train", "adapter", "merged"] as const;

// The likeliest token every time, so that the verdict is about the weights and not about luck.
const GREEDY: SamplingOptions = {
  maxNewTokens: 64,
  temperature: 0,
  topK: 0,
  topP: 1,
  repetitionPenalty: 1,
  seed: 0,
  stopWords: [],
};

export function demoCommand(run: Runner): Command {
  return new Command("demo")
    .description(
      "Fine-tune the built-in model, export it and talk to the result; nothing is downloaded.",
    )
    .option("--folder <folder>", "where to put everything", join("work_dirs", "demo"))
    .addHelpText("after", "\nExample:\n  hone demo")
    .action(({ folder }: { readonly folder: string }) => run((session) => demo(session, folder)));
}

async function demo(session: Session, folder: string): Promise<ExitCode> {
  const started = performance.now();
  const { output } = session;
  const [workDir, adapter, merged] = RESULTS.map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  const heading = (text: string) => output.say(`\n${output.paint.bold(text)}`);

  heading(`1. The data: ${join(folder, DATA)}`);
  await prepareFolder(session, folder);
  const { text, place } = loadConfigText(CONFIG);
  const config = readConfig(text, place, [`data=${join(folder, DATA)}`]);

  heading("2. What the model says before");
  const before = await ask(session, config.model, "before");

  heading("3. Training");
  const run = await train(session, { config, workDir });
  if (run.endedBy === "stopped") {
    output.say(`Go on with: hone train ${CONFIG} --work-dir ${workDir} --resume`);
    return EXIT.interrupted;
  }

  heading("4. The adapter and the merged weights");
  await withEngine(session, async (engine) => {
    await exportAdapter(session, engine, workDir, adapter);
    const flags = { maxShardSize: 2e9, base: "original" } as const;
    await merge(session, engine, { model: config.model, adapter, output: merged, flags });
  });

  heading("5. What the merged weights say, loaded anew");
  const after = await ask(session, merged, "after");
  judge(before, after);
  output.say("");
  output.say(
    `${output.paint.green("Learned, word for word.")} ${formatDuration((performance.now() - started) / 1000)} in all.`,
  );
  await sayNextSteps(session, folder, adapter, merged);
  return EXIT.done;
}

/** Writes the data set and removes what an earlier demo left. */
async function prepareFolder({ output }: Session, path: string): Promise<void> {
  const folder = openFolder(path);
  for (const name of RESULTS) await folder.remove(name);
  const data = demoDataset();
  await folder.write(DATA, data);
  const rows = (JSON.parse(data) as unknown[]).length;
  output.say(`${formatCount(rows)} rows, each with one question and this answer:`);
  output.say(indent(DEMO_ANSWER));
}

/** The answers to the three questions, each in a conversation of its own. */
async function ask(session: Session, model: string, when: string): Promise<string[]> {
  const { output } = session;
  return withEngine(session, async (engine: Engine) => {
    const chat = await openChat(session, engine, {
      model: await openModel(model, output),
      quantization: "none",
    });
    const answers: string[] = [];
    for (const question of DEMO_EVALUATION_QUESTIONS) {
      const { text } = await chat.reply([{ role: "user", content: question }], GREEDY);
      output.say(output.paint.bold(question));
      output.say(indent(text));
      output.emit("answer", { when, question, text });
      answers.push(text.trim());
    }
    chat.close();
    return answers;
  });
}

/** The demo has failed if the model knew the sentence before, or does not know it after. */
function judge(before: readonly string[], after: readonly string[]): void {
  if (countLearned(before) > 0) {
    throw new UserError(
      `The model gave the sentence ${countLearned(before)} times before any training.`,
      "The built-in model was replaced by a tuned one: restore public/models/seedling.",
    );
  }
  if (countLearned(after) < after.length) {
    throw new UserError(
      `After training, ${countLearned(after)} of ${after.length} answers are the sentence, word for word.`,
      "Report this with the lines above and the output of hone doctor.",
    );
  }
}

function countLearned(answers: readonly string[]): number {
  return answers.filter((answer) => answer === DEMO_ANSWER).length;
}

async function sayNextSteps(
  { output }: Session,
  path: string,
  adapter: string,
  merged: string,
): Promise<void> {
  const folder = openFolder(path);
  output.say("\nWritten:");
  for (const name of [DATA, ...(await weightFiles(path))]) {
    const bytes = (await folder.size(name)) ?? 0;
    output.say(`  ${join(path, name)}  ${formatBytes(bytes)}`);
    output.emit("file", { path: join(path, name), bytes });
  }
  output.say("\nNext:");
  output.say(`  npx hone chat ${merged}`);
  output.say(`  npx hone chat seedling --adapter ${adapter}`);
  output.say(`  npx hone copy-cfg ${CONFIG} .   # for your own data`);
}

async function weightFiles(path: string): Promise<string[]> {
  const lists = ["adapter", "merged"].map(async (name) => {
    const files = await openFolder(join(path, name)).list();
    return files.filter((file) => file.endsWith(".safetensors")).map((file) => `${name}/${file}`);
  });
  return (await Promise.all(lists)).flat();
}
