// What a person meets before any model is loaded: help, refusals, configs, doctor. No GPU is needed,
// save by doctor, which finds SwiftShader from npm where there is no other.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { overview } from "../../src/cli/list-cfg.ts";
import { readConfig } from "../../src/config/read.ts";
import { ALL_OPTIONS } from "../../src/config.ts";
import { hone, temporaryFolder } from "./run-cli.ts";

const COMMANDS: string[][] = [
  ["demo"],
  ["train"],
  ["chat"],
  ["eval"],
  ["test"],
  ["log-dataset"],
  ["check-dataset"],
  ["preprocess"],
  ["preprocess", "arxiv"],
  ["convert"],
  ["convert", "adapter"],
  ["convert", "pth_to_hf"],
  ["convert", "merge"],
  ["convert", "split"],
  ["list-cfg"],
  ["copy-cfg"],
  ["list-dataset-format"],
  ["doctor"],
];

describe("help", () => {
  test.each(COMMANDS)("hone %s %s --help shows the options and an example", async (...words) => {
    const { code, stdout } = await hone([...words, "--help"]);
    expect(code).toBe(0);
    expect(stdout).toContain(`Usage: hone ${words.join(" ")}`);
    expect(stdout).toMatch(/^Example:\n {2}hone /m);
    expect(stdout).toContain("--gpu <adapter>"); // the options of every command
    expect(stdout.split("\n").filter((line) => line.length > 80)).toEqual([]);
  });

  test("train's help lists every option of a config", async () => {
    const { stdout } = await hone(["train", "--help"]);
    const missing = ALL_OPTIONS.filter(({ path }) => !stdout.includes(`  ${path} `));
    expect(missing).toEqual([]);
  });

  test("no command at all shows the help on stderr and is wrong usage", async () => {
    const { code, stdout, stderr } = await hone([]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain("Usage: hone");
  });

  test("the version is the package's", async () => {
    const manifest = JSON.parse(
      readFileSync(join(import.meta.dirname, "../../package.json"), "utf8"),
    ) as { version: string };
    expect(await hone(["--version"])).toEqual({
      code: 0,
      stdout: `${manifest.version}\n`,
      stderr: "",
    });
  });
});

describe("wrong usage exits with 2 and says what was meant", () => {
  test.each([
    [
      ["train", "x.yaml", "--workdir", "w"],
      "Unknown option '--workdir' (Did you mean --work-dir?)",
    ],
    [["trian"], "Unknown command 'trian' (Did you mean train?)"],
    [["convert", "marge"], "Did you mean merge?"],
    [["train"], "Missing required argument 'config'"],
    [["list-cfg", "extra"], "Too many arguments"],
    [["chat", "seedling", "--top-p", "2"], "It takes a number from 0 to 1."],
    [["chat", "seedling", "--seed", ""], "It takes a whole number"],
    [["chat", "seedling", "--bits", "8"], "8 bits are not in Hone."],
    [["chat", "seedling", "--lagent"], "answers no questions with a search engine"],
    [["--gpu", "abacus", "doctor"], "Allowed choices are auto, gpu, llvmpipe, swiftshader"],
    [["convert", "merge", "a", "b", "c", "--max-shard-size", "2XB"], "as in 2GB or 500MiB"],
    [["train", "no_such_config"], 'There is no ready-made config "no_such_config".'],
    [["copy-cfg", "seedling_qlora_alpac", "."], "The nearest is seedling_qlora_alpaca"],
    [["train", "seedling_qlora_alpaca", "--set", "learning_rate=1"], 'here it is "lr"'],
    [["train", "seedling_qlora_alpaca", "--seed", "x"], 'seed is "x", and takes a whole number'],
    [["chat", "seedling", "--system", "a", "--system-template", "sql"], "were both given"],
    [["chat", "seedling", "--system-template", "poet"], "Use one of: moss_sft, alpaca"],
  ])("hone %j", async (args, words) => {
    const { code, stdout, stderr } = await hone(args);
    expect(stderr).toContain(words);
    expect(stderr).toMatch(/^Error: .*\n.+\n$/s); // the problem, then the remedy
    expect(stderr).not.toContain("    at "); // no stack
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  });

  test("all problems of a config come at once, each with its line", async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, "bad.yaml"), "model: seedling\nlearn: 1\nlora: {r: 0}\n");
    const { code, stderr } = await hone(["train", "bad.yaml"], { folder });
    expect(code).toBe(2);
    expect(stderr).toContain("bad.yaml has 3 problems:");
    expect(stderr).toContain("line 2: there is no option");
    expect(stderr).toContain("line 3: lora.r is 0");
    expect(stderr).toContain("data is missing");
  });
});

describe("what is not there exits with 1 and is named", () => {
  test.each([
    [["train", "gone.yaml"], "There is no config gone.yaml."],
    [["train", "seedling_qlora_alpaca", "--set", "data=gone.json"], "gone.json"],
    [["chat", "gone"], 'There is no model "gone"'],
    [["eval", "seedling", "--data", "gone.json"], "gone.json"],
    [["chat", "seedling", "--adapter", "gone"], "There is no folder gone."],
    [["convert", "adapter", "gone", "out"], "There is no folder gone."],
    [["convert", "pth_to_hf", "gone", "out"], "There is no folder gone."],
    [["convert", "pth_to_hf", "gone.py", "gone", "out"], "gone.py"],
  ])("hone %j", async (args, words) => {
    const { code, stderr } = await hone(args);
    expect(stderr).toContain(words);
    expect(stderr).not.toContain("    at ");
    expect(code).toBe(1);
  });

  test("eval refuses a format that does not exist, before its table is begun", async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, "rows.jsonl"), '{"input": "a", "output": "b"}\n');
    const args = ["eval", "seedling", "--data", "rows.jsonl", "--dataset-format", "foo"];
    const { code, stdout, stderr } = await hone(args, { folder });
    expect(stderr).toContain('There is no dataset format "foo".');
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  });

  test("a file where a folder should be is named", async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, "mine"), "");
    const { code, stderr } = await hone(["copy-cfg", "seedling_qlora_alpaca", "mine"], { folder });
    expect(stderr).toMatch(/^Error: A part of the path mine.* is a file, not a folder\.\n/);
    expect(code).toBe(1);
  });

  test("an export is never mixed into a folder with files in it", async () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, "out"));
    writeFileSync(join(folder, "out", "mine.txt"), "mine");
    mkdirSync(join(folder, "adapter"));
    writeFileSync(join(folder, "adapter", "adapter_config.json"), "{}");
    const { code, stderr } = await hone(["convert", "adapter", "adapter", "out"], { folder });
    expect(stderr).toContain("out already holds files (mine.txt, …)");
    expect(code).toBe(1);
  });

  test("a run is never started over an earlier one", async () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, "w", "iter_30"), { recursive: true });
    const { code, stderr } = await hone(["train", "seedling_qlora_alpaca", "--work-dir", "w"], {
      folder,
    });
    expect(stderr).toContain("w holds an earlier run (iter_30).\nAdd --resume");
    expect(code).toBe(1);
  });
});

describe("ready-made configs", () => {
  test("every listed config is a good one, with a line on what it is for", async () => {
    const { stdout } = await hone(["list-cfg", "--json"]);
    const configs = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { name: string; about: string; path?: string });
    expect(configs.map(({ name }) => name)).toContain("seedling_qlora_identity_demo");
    expect(configs.slice(0, 3).map(({ name }) => name)).toEqual(["quick", "balanced", "thorough"]);
    for (const { about, path } of configs) {
      expect(about.length).toBeGreaterThan(20);
      // The presets are no files, and lack the model and the data: test/config/presets.test.ts.
      if (path === undefined) continue;
      expect(() => readConfig(readFileSync(path, "utf8"), path)).not.toThrow();
    }
  });

  test("list-cfg shows an overview in 80 columns, and into a pipe every name", async () => {
    expect(
      overview(4000)
        .split("\n")
        .filter((line) => line.length > 80),
    ).toEqual([]);
    const { stdout } = await hone(["list-cfg"]);
    expect(stdout).toMatch(/^qwen2_5_7b_qlora_alpaca_e3 /m);
  });

  test("list-cfg finds by a part of the name, in any case", async () => {
    const { stdout } = await hone(["list-cfg", "-p", "INTERNLM2_1_8B_qlora_alpaca_E3"]);
    expect(stdout).toMatch(/^internlm2_1_8b_qlora_alpaca_e3 {2}\S.*\n$/);
  });

  test("copy-cfg writes a config that is no file of the package, whatever the case of its name", async () => {
    const folder = temporaryFolder();
    const copied = await hone(["copy-cfg", "InternLM2_1_8b_qlora_alpaca_e3", "."], { folder });
    expect(copied).toMatchObject({ code: 0, stdout: "internlm2_1_8b_qlora_alpaca_e3_copy.yaml\n" });
    const path = join(folder, "internlm2_1_8b_qlora_alpaca_e3_copy.yaml");
    expect(readConfig(readFileSync(path, "utf8"), path).model).toBe("internlm/internlm2-1_8b");
  });

  test("copy-cfg copies once, and never over a copy that may have been edited", async () => {
    const folder = temporaryFolder();
    const copy = ["copy-cfg", "seedling_qlora_alpaca", "mine"];
    const path = join("mine", "seedling_qlora_alpaca_copy.yaml");
    expect(await hone(copy, { folder })).toMatchObject({ code: 0, stdout: `${path}\n` });
    expect(readFileSync(join(folder, path), "utf8")).toContain("model: seedling");
    expect(await hone(copy, { folder })).toMatchObject({ code: 1 });
  });

  test("a preset is copied and started like any other config, once model and data are named", async () => {
    const folder = temporaryFolder();
    expect(await hone(["copy-cfg", "quick", "."], { folder })).toMatchObject({ code: 0 });
    const copy = readFileSync(join(folder, "quick_copy.yaml"), "utf8");
    expect(readConfig(copy, "quick_copy.yaml", ["model=seedling", "data=x"]).max_steps).toBe(40);
    const named = ["train", "quick", "--set", "model=seedling", "data=gone.json"];
    expect((await hone(named, { folder })).stderr).toContain("gone.json");
    const { code, stderr } = await hone(["train", "quick"], { folder });
    expect(stderr).toContain("the preset quick has 2 problems:");
    expect(code).toBe(2);
  });
});

describe("--json", () => {
  test("a failure is one JSON line on stdout, and words on stderr", async () => {
    const { code, stdout, stderr } = await hone(["--json", "chat", "gone"]);
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ type: "error", exitCode: 1 });
    expect(stderr).toContain("There is no model");
  });
});

describe("doctor", () => {
  test("names the adapter that is used and what was tried", async () => {
    const { code, stdout } = await hone(["doctor", "--gpu", "swiftshader"]);
    expect(stdout).toMatch(/Adapter: SwiftShader.* \(swiftshader\)/);
    expect(stdout).toContain("SwiftShader from @sparticuz/chromium");
    expect(stdout).toMatch(/largest binding [\d.]+ [MG]iB/);
    expect(code).toBe(0);
  });

  test("takes the adapter from HONE_ADAPTER, and the flag before it", async () => {
    const environment = { HONE_ADAPTER: "swiftshader" };
    const asked = await hone(["doctor", "--json"], { environment });
    const events = asked.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as object);
    expect(events).toContainEqual(
      expect.objectContaining({ type: "adapter", kind: "swiftshader" }),
    );
    const wrong = await hone(["doctor"], { environment: { HONE_ADAPTER: "abacus" } });
    expect(wrong.code).toBe(2);
  });
});
