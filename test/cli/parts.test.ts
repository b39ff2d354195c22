// The parts of the command line that need no process: lines of progress, chat input, colors, the demo's data.
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { readMessages } from "../../src/cli/chat-input.ts";
import { loadConfigText } from "../../src/cli/config-zoo.ts";
import { demoDataset } from "../../src/cli/demo-data.ts";
import { bytesFlag, numberFlag, wholeFlag } from "../../src/cli/flags.ts";
import { hubBaseOf, mayBeOnHub } from "../../src/cli/hub.ts";
import { loadConfig } from "../../src/cli/load-config.ts";
import { formatLoadingBar, formatStepBar, formatStepLine } from "../../src/cli/progress.ts";
import { refuseFile } from "../../src/cli/train.ts";
import { canRedraw, createPaint, lineWidth } from "../../src/cli/terminal.ts";
import type { StepReport } from "../../src/engine.ts";

function temporaryFolder(): string {
  const path = mkdtempSync(join(tmpdir(), "hone-parts-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

test("a config that is no UTF-8, or a folder, is refused in words", () => {
  const folder = temporaryFolder();
  const path = join(folder, "run.yaml");
  // "你好" in GBK
  writeFileSync(path, Buffer.concat([Buffer.from("system: "), Buffer.from([196, 227, 186, 195])]));
  expect(() => loadConfigText(path)).toThrow(/run\.yaml is not UTF-8 text\.[^]*Save it as UTF-8/);
  writeFileSync(path, "\uFEFFsystem: 你好");
  expect(loadConfigText(path).text).toBe("system: 你好");
  expect(() => loadConfigText(folder)).toThrow("is a folder, not a config.");
});

test("without compat a .py config's iterations become optimizer steps", () => {
  const fixture = new URL(
    "../fixtures/xtuner/internlm2_1_8b_qlora_alpaca_e3_copy.py",
    import.meta.url,
  );
  const path = fileURLToPath(fixture);
  const counted = loadConfig(path).config;
  expect(counted).toMatchObject({ accumulative_counts: 16, save_steps: 300, evaluation_freq: 300 });
  const set = ["compat=none", "evaluation_freq=7"];
  const { config, notes } = loadConfig(path, { set });
  expect(config).toMatchObject({ compat: "none", save_steps: 19, evaluation_freq: 7 });
  expect(config.logging_steps).toBe(1);
  expect(config.max_steps).toBe(counted.max_steps);
  expect(notes.at(-1)?.text).toContain("save_steps 300 → 19");
  const single = loadConfig(path, { set: ["compat=none", "accumulative_counts=1"] });
  expect(single.config.save_steps).toBe(300);
});

test("a work directory that is a file, or in one, is refused by its flag", () => {
  const folder = temporaryFolder();
  const file = join(folder, "notes");
  writeFileSync(file, "");
  expect(() => refuseFile(file, "--work-dir")).toThrow(`--work-dir ${file} is a file`);
  expect(() => refuseFile(join(file, "run"), "work_dir")).toThrow("cannot be made");
  expect(() => refuseFile(join(folder, "new/run"), "--work-dir")).not.toThrow();
});

const REPORT: StepReport = {
  step: 12,
  steps: 1000,
  epoch: 1,
  loss: 1.234_56,
  learningRate: 2e-4,
  gradNorm: 1,
  lossScale: 1,
  tokens: 3072,
  labelTokens: 100,
  tokensPerSecond: 1234.4,
  etaSeconds: 187,
  skipped: 0,
};

test("a bar shows loss, learning rate, speed and time left in 78 columns", () => {
  const bar = formatStepBar(REPORT, 80);
  expect(bar).toMatch(
    /^ {2}12\/1000 ─+ {2}loss 1\.2346 {2}lr 2\.00e-4 {2}1,234 tokens\/s {2}ETA 3:07$/,
  );
  expect(bar).toHaveLength(78);
  expect(formatStepBar({ ...REPORT, step: 500 }, 80).match(/━/g)).toHaveLength(9); // half of 17
});

test.each([20, 40, 60, 80])(
  "no line of progress is wider than %i columns leave room for",
  (columns) => {
    const long = { ...REPORT, steps: 1e9, etaSeconds: 1e6, tokensPerSecond: 1e7, skipped: 12 };
    expect(formatStepBar(long, columns).length).toBeLessThan(columns);
    expect(formatLoadingBar(1, 0, columns).length).toBeLessThan(columns); // size not yet known
  },
);

test("a log line has the same figures, and says what was skipped", () => {
  expect(formatStepLine({ ...REPORT, skipped: 2 })).toBe(
    "step 12/1000  loss 1.2346  lr 2.00e-4  1,234 tokens/s  ETA 3:07  2 skipped",
  );
});

async function read(lines: readonly string[], isParagraphs: boolean): Promise<unknown[]> {
  const inputs: unknown[] = [];
  const source = (async function* () {
    yield* lines;
  })();
  for await (const input of readMessages(source, isParagraphs)) {
    inputs.push(input.type === "message" ? input.text : input.type);
  }
  return inputs;
}

test.each([
  ["a pipe: each line is a message", false, ["a", "", "b "], ["a", "b "]],
  ["a pipe: commands", false, ["a", " RESET ", "b", "EXIT", "c"], ["a", "reset", "b", "exit"]],
  ["a keyboard: an empty line ends a message", true, ["a", "b", "", "", "c", ""], ["a\nb", "c"]],
  ["a keyboard: a command needs no empty line", true, ["EXIT", "a", ""], ["exit"]],
  ["a keyboard: a command within a message is text", true, ["say", "EXIT", ""], ["say\nEXIT"]],
  ["a keyboard: the end of input ends a message", true, ["a", "b"], ["a\nb"]],
  ["bytes that were no text", false, ["a\uFFFD"], ["broken"]],
])("chat reads %s", async (_what, isParagraphs, lines, expected) => {
  expect(await read(lines, isParagraphs)).toEqual(expected);
});

test.each([
  ["2GB", 2e9],
  ["500MiB", 500 * 2 ** 20],
  ["1.5 kb", 1500],
  ["4096", 4096],
])("the size %s is %i bytes", (text, bytes) => {
  expect(bytesFlag(text)).toBe(bytes);
});

test.each(["", "GB", "-2GB", "2TBs", "1.2.3", "0"])("the size %j is refused", (text) => {
  expect(() => bytesFlag(text)).toThrow("It takes a size");
});

test("numbers outside their range, parts of numbers and nothing are refused", () => {
  expect(wholeFlag(1)("2048")).toBe(2048);
  expect(numberFlag(0, 1)("0.75")).toBe(0.75);
  for (const text of ["", " ", "1.5", "0", "x", "NaN", "Infinity"]) {
    expect(() => wholeFlag(1)(text)).toThrow("It takes a whole number");
  }
  for (const text of ["", "1.01", "-0.1", "NaN"]) {
    expect(() => numberFlag(0, 1)(text)).toThrow("It takes a number");
  }
});

test.each([
  [{ isTTY: true }, {}, true],
  [{ isTTY: false }, {}, false],
  [{ isTTY: true }, { NO_COLOR: "1" }, false],
  [{ isTTY: true }, { NO_COLOR: "" }, true], // no-color.org: only when not empty
  [{ isTTY: false }, { FORCE_COLOR: "1" }, true],
  [{ isTTY: true }, { FORCE_COLOR: "0" }, false],
  [{ isTTY: true }, { TERM: "dumb" }, false],
])("colors of %j with %j: %j", (stream, environment, isColored) => {
  expect(createPaint(stream, environment).red("x") !== "x").toBe(isColored);
});

test("lines are redrawn on a terminal alone, and not in CI or without color", () => {
  expect(canRedraw({ isTTY: true }, {})).toBe(true);
  expect(canRedraw({ isTTY: true }, { CI: "true" })).toBe(false);
  expect(canRedraw({ isTTY: true }, { NO_COLOR: "1" })).toBe(false);
  expect(canRedraw({}, {})).toBe(false);
  expect(lineWidth({ columns: 0 })).toBe(80); // a terminal that does not know its size
  expect(lineWidth({ columns: 200 })).toBe(80);
  expect(lineWidth({ columns: 60 })).toBe(60);
});

test("the demo's data set is byte for byte what the tutorial's Python script writes", () => {
  // sha256 of json.dumps(rows, ensure_ascii=False, indent=4) for the script's 10,001 rows, by Python 3.11.
  expect(createHash("sha256").update(demoDataset()).digest("hex")).toBe(
    "deaa1f3bd96c6e70e0630ef445a4c449919eea40290006d2c800090567dbbcbb",
  );
});

test("a mistyped path of a file is not taken for an id of the hub, which would be told its words", () => {
  const local = [
    "clients/secret.json",
    "clients/secret.JSONL.gz",
    "clients/rows.parquet",
    "clients/weights.safetensors",
    "clients/model.gguf",
    "./org/name",
    "../org/name",
    "~/org/name",
    "/org/name",
    "C:/org/name",
    "org\\name",
    "name",
  ];
  for (const name of local) {
    expect(mayBeOnHub(name, "dataset"), name).toBe(false);
    expect(mayBeOnHub(name, "model"), name).toBe(false);
  }
  const ids = [
    "org/name",
    "org/Model-0.5B-GGUF",
    "org/name-v1.5",
    "org/name@main",
    "org/name/train.jsonl",
    "org/name.gguf/name-q4.gguf",
    "hf:org/rows.json",
    "https://huggingface.co/datasets/org/rows.json",
  ];
  for (const name of ids) expect(mayBeOnHub(name, "dataset"), name).toBe(true);
});

test("an adapter's base is the repo that a model's name leads to, and its revision", () => {
  expect(hubBaseOf("org/name")).toEqual({ name: "org/name" });
  expect(hubBaseOf("org/name@main")).toEqual({ name: "org/name" });
  expect(hubBaseOf("org/name@v2")).toEqual({ name: "org/name", revision: "v2" });
  expect(hubBaseOf("org/name-GGUF/q4.gguf")).toEqual({ name: "org/name-GGUF" });
  expect(hubBaseOf("https://huggingface.co/org/name/tree/refs%2Fpr%2F1")).toEqual({
    name: "org/name",
    revision: "refs/pr/1",
  });
  for (const local of ["src/cli", "./org/name@v2", "seedling", "https://example.com/org/name"]) {
    expect(hubBaseOf(local)).toBeUndefined();
  }
});
