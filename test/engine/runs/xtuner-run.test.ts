// The tutorial's run, small: its config and its data on a model of InternLM2's form, to merged weights.
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createEngine, type RunSummary, type TrainEvent } from "../../../src/engine.ts";
import { nodeHost, openDataSource, openFolder } from "../../../src/hosts/node.ts";
import type { AdapterChoice } from "../../../src/hosts/node-gpu.ts";
import { readXtunerConfig } from "../../../src/xtuner/read-xtuner-config.ts";
import { temporaryFolder } from "../tiny-folder.ts";
import { writeInternlm2, writeTutorialData } from "../tiny-internlm2.ts";

// The run begins at noon, and its clock stands still.
const NOON = new Date(2024, 3, 12, 12, 0, 0);
const STAMP = "20240412_120000";
const adapter = (process.env["HONE_ADAPTER"] ?? "swiftshader") as AdapterChoice;
const engine = createEngine({ ...nodeHost({ adapter }), clock: () => NOON });
afterAll(() => engine.close());

const folder = temporaryFolder();
const at = (name: string) => join(folder, name);
const work = at("train");

const CONFIG = "internlm2_1_8b_qlora_alpaca_e3_copy";
const SOURCE = readFileSync(new URL(`../../fixtures/xtuner/${CONFIG}.py`, import.meta.url), "utf8");
const SAMPLE_TEXT = `<s><|User|>:请做一下自我介绍
<|Bot|>:我是useree的小助手,内在是上海AI实验室书生·浦语的1.8B大模型哦</s>
`;
const MODEL_CODE = ["configuration", "modeling", "tokenization"].map(
  (name) => `${name}_internlm2.py`,
);
const numerics = JSON.parse(
  readFileSync(new URL("../../fixtures/numerics.json", import.meta.url), "utf8"),
) as { lr: { logged: Record<string, string> } };

/**
 * All that is not the tutorial's: paths; 448 rows in 32 runs of 14, which are 588 tokens each and so 12
 * chunks of 48; the adapter's rank; and short answers.
 */
const CHANGES = [
  `tokenizer.pretrained_model_name_or_path=${at("model")}`,
  `model.llm.pretrained_model_name_or_path=${at("model")}`,
  `train_dataloader.dataset.dataset.data_files.train=${at("personal_assistant.json")}`,
  "train_dataloader.dataset.max_length=48",
  "model.lora.r=8",
  "custom_hooks.1.max_new_tokens=3",
];

const events: TrainEvent[] = [];
let summary: RunSummary;

beforeAll(async () => {
  writeInternlm2(at("model"));
  writeTutorialData(at("personal_assistant.json"), 448);
  const { config } = readXtunerConfig(SOURCE, `${CONFIG}.py`, { cfgOptions: CHANGES });
  summary = await engine.train({
    config,
    model: openFolder(config.model),
    data: await Promise.all(config.data.map((path) => openDataSource(path))),
    workDir: openFolder(work),
    source: { name: `${CONFIG}.py`, text: SOURCE },
    onEvent: (event) => events.push(event),
  });
});

test("768 iterations, an optimizer step after every sixteenth, and a loss that falls", () => {
  expect(summary).toMatchObject({ endedBy: "finished", step: 768, steps: 768, skipped: 0 });
  const steps = events.filter((event) => event.type === "step");
  expect(steps.map(({ step }) => step)).toEqual(Array.from({ length: 768 }, (_, i) => i + 1));
  const updates = steps.filter(({ iteration }) => iteration?.updated);
  expect(updates.map(({ step }) => step)).toEqual(
    Array.from({ length: 48 }, (_, i) => 16 * i + 16),
  );
  // At this rate and in so few steps a random model learns little, but steadily.
  const mean = (part: typeof steps) => part.reduce((sum, { loss }) => sum + loss, 0) / part.length;
  expect(mean(steps.slice(-96))).toBeLessThan(mean(steps.slice(0, 96)) - 0.1);
  const data = events.find((event) => event.type === "data");
  expect(data).toMatchObject({ rows: 384, funnel: { lostTokens: 448 * 42 - 384 * 48 } });
});

test("the files are XTuner's, beside Hone's own", () => {
  const files = filesIn(work);
  expect(files.filter((name) => !name.startsWith("iter_"))).toEqual([
    `${STAMP}/${STAMP}.log`,
    `${STAMP}/vis_data/${STAMP}.json`,
    `${STAMP}/vis_data/config.py`,
    `${STAMP}/vis_data/eval_outputs_iter_299.txt`,
    `${STAMP}/vis_data/eval_outputs_iter_599.txt`,
    `${STAMP}/vis_data/eval_outputs_iter_767.txt`,
    `${STAMP}/vis_data/scalars.json`,
    "config.yaml",
    `${CONFIG}.py`,
    "last_checkpoint",
    "metrics.jsonl",
    "train.log",
  ]);
  expect(readdirSync(work).filter((name) => name.startsWith("iter_"))).toEqual([
    "iter_300.pth",
    "iter_600.pth",
    "iter_768.pth",
  ]);
  expect(read("last_checkpoint")).toBe(join(work, "iter_768.pth"));
  expect(read(`${CONFIG}.py`)).toBe(SOURCE);
});

test("the log has a line every ten iterations, at mmengine's rates, with what happens between them", () => {
  const told = logMessages().filter((message) => !message.startsWith("Sample output:"));
  const start = told.indexOf("Num train samples 384");
  expect(told.slice(start, start + 5)).toEqual([
    "Num train samples 384",
    "train example:",
    `${SAMPLE_TEXT}<s><|User|>:`, // 42 tokens and the first six of the next copy
    "before_train in EvaluateChatHook.",
    `Checkpoints will be saved to ${work}.`,
  ]);
  const rest = told.slice(start + 5);
  const rates = new Map(
    rest.filter(isLine).map((message) => {
      const [, k, lr] = /^Iter\(train\) \[ *(\d+)\/768\] {2}lr: (\S+) {2}eta: /.exec(message)!;
      return [Number(k), lr];
    }),
  );
  expect([...rates.keys()]).toEqual(Array.from({ length: 76 }, (_, i) => 10 * i + 10));
  const logged = Object.entries(numerics.lr.logged).filter(([k]) => Number(k) % 10 === 0);
  for (const [k, lr] of logged) expect(rates.get(Number(k)), k).toBe(lr);
  const between = rest.filter((message) => !isLine(message) || /\[(300|600)\//.test(message));
  expect(between.map((message) => message.replace(/(?<=\/768\]).+$/, ""))).toEqual([
    ...whatHappensAt(300),
    `Exp name: ${CONFIG}_${STAMP}`, // at the end of the first epoch
    expect.stringMatching(/^Reach the end of the dataloader, it will be restarted/),
    ...whatHappensAt(600),
    "after_train_iter in EvaluateChatHook.",
    "Saving checkpoint at 768 iterations",
    "after_train in EvaluateChatHook.",
  ]);
});

test("questions are answered five times, as files where a checkpoint is saved", () => {
  const samples = events.filter((event) => event.type === "sample");
  const times = [0, 300, 600, 768, 768];
  expect(samples.map(({ step }) => step)).toEqual(times.flatMap((step) => [step, step, step]));
  const text = read(`${STAMP}/vis_data/eval_outputs_iter_299.txt`);
  const expected = samples
    .slice(3, 6)
    .map(({ sequence }, i) => `Eval output ${i + 1}:\n${sequence}\n\n\n\n`);
  expect(text).toBe(expected.join(""));
  expect(text).toContain("Eval output 1:\n<s><|User|>:请你介绍一下你自己\n<|Bot|>:");
});

test("the adapter has the output head too: it becomes a PEFT folder, merges, and talks", async () => {
  const folderAt = (name: string) => openFolder(at(name));
  await engine.exportAdapter(openFolder(join(work, "iter_768.pth")), folderAt("huggingface"));
  const { target_modules: names } = JSON.parse(
    readFileSync(at("huggingface/adapter_config.json"), "utf8"),
  ) as { target_modules: string[] };
  expect(names).toEqual(["output", "w1", "w2", "w3", "wo", "wqkv"]);
  const merged = await engine.merge({
    model: folderAt("model"),
    adapter: folderAt("huggingface"),
    output: folderAt("final_model"),
  });
  expect(merged.check).not.toBe("");
  expect(filesIn(at("final_model"))).toEqual(expect.arrayContaining(MODEL_CODE));
  const base = await headOf("model");
  const changed = (await headOf("final_model")).filter((value, i) => value !== base[i]).length;
  expect(changed).toBeGreaterThan(0);
  const chat = await engine.openChat({ model: folderAt("final_model"), contextTokens: 64 });
  const reply = await chat.reply([{ role: "user", content: "你是谁" }], {
    maxNewTokens: 4,
    temperature: 0,
    topK: 0,
    topP: 1,
    repetitionPenalty: 1,
    seed: 0,
    stopWords: [],
  });
  chat.close();
  // The template that it was trained with goes along.
  expect(chat.template.name).toBe("default");
  expect(reply.promptTokens).toBe("<s>,<,|,User,|,>:,你是,谁,\n,<,|,Bot,|,>:".split(",").length);
});

function isLine(message: string): boolean {
  return message.startsWith("Iter(train)");
}

/** The line, then the answers, then the checkpoint. */
function whatHappensAt(iteration: number): string[] {
  return [
    `Iter(train) [${iteration}/768]`,
    "after_train_iter in EvaluateChatHook.",
    `Saving checkpoint at ${iteration} iterations`,
  ];
}

async function headOf(name: string): Promise<Uint8Array> {
  const model = openFolder(at(name));
  const file = (await model.list()).filter((entry) => entry.endsWith(".safetensors")).at(-1)!;
  const bytes = await model.read(file);
  const headerBytes = new DataView(bytes.buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + headerBytes))) as Record<
    string,
    { data_offsets: [number, number] }
  >;
  const [start, end] = header["output.weight"]!.data_offsets;
  return bytes.subarray(8 + headerBytes + start, 8 + headerBytes + end);
}

function logMessages(): string[] {
  // A message may be of several lines; the next begins with a time.
  return read(`${STAMP}/${STAMP}.log`)
    .split(/^2024\/04\/12 12:00:00 - mmengine - (?:INFO|WARNING) - /m)
    .slice(1)
    .map((message) => message.replace(/\n$/, ""));
}

function read(name: string): string {
  return readFileSync(join(work, name), "utf8");
}

function filesIn(path: string): string[] {
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(path, join(entry.parentPath, entry.name)))
    .toSorted((a, b) => (a < b ? -1 : 1));
}
