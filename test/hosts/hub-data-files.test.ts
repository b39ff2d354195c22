// Which files of a data set's repo are its train split: as the `datasets` library finds them, or refused with what
// there is. Names are those of repos that XTuner's configs use, and their like.
import { describe, expect, test } from "vitest";
import { UserError } from "../../src/base/error.ts";
import { readCardConfigs } from "../../src/config/data-card.ts";
import {
  chooseConverted,
  chooseDataFiles,
  type DataRequest,
} from "../../src/hosts/hub-data-files.ts";

const listed = (names: readonly string[]) => names.map((name) => ({ name, bytes: 1000 }));
const request = (more: Partial<DataRequest> = {}): DataRequest => ({
  place: "org/name",
  path: "",
  split: "train",
  configs: [],
  ...more,
});
const namesOf = (names: readonly string[], more?: Partial<DataRequest>) =>
  chooseDataFiles(listed(names), request(more))?.files.map(({ name }) => name);
const refusal = (action: () => unknown): string => {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(UserError);
    return (error as Error).message;
  }
  throw new Error("it was not refused");
};

const converted = (names: readonly string[], more?: Partial<DataRequest>) =>
  chooseConverted(listed(names), request(more)).files.map(({ name }) => name);

const USUAL = [".gitattributes", "README.md"];

describe("by names", () => {
  test.each<[string, string[], string[]]>([
    [
      "alpaca",
      ["data/train-00000-of-00001-a09b74b3ef9c3b56.parquet"],
      ["data/train-00000-of-00001-a09b74b3ef9c3b56.parquet"],
    ],
    [
      "shards",
      [
        "data/train-00001-of-00002.parquet",
        "data/train-00000-of-00002.parquet",
        "data/test-00000-of-00001.parquet",
      ],
      ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"],
    ],
    [
      "guanaco",
      ["openassistant_best_replies_train.jsonl", "openassistant_best_replies_eval.jsonl"],
      ["openassistant_best_replies_train.jsonl"],
    ],
    ["colors", ["colors.jsonl"], ["colors.jsonl"]],
    ["sql", ["sql_create_context_v4.json"], ["sql_create_context_v4.json"]],
    ["folders", ["train/b.csv", "train/a.csv", "test/c.csv"], ["train/a.csv", "train/b.csv"]],
    ["folders below", ["en/train/a.json", "en/dev/a.json"], ["en/train/a.json"]],
    ["training", ["training.tsv", "validation.tsv"], ["training.tsv"]],
    ["packed", ["train.jsonl.gz", "test.jsonl.gz"], ["train.jsonl.gz"]],
    [
      "all",
      ["3_5M-GPT3_5-Augmented.parquet", "1M-GPT4-Augmented.parquet"],
      ["1M-GPT4-Augmented.parquet", "3_5M-GPT3_5-Augmented.parquet"],
    ],
    ["the same in several forms", ["train.csv", "train.jsonl", "train.parquet"], ["train.parquet"]],
    [
      "beside what is no data",
      ["rows.json", "dataset_infos.json", "LICENSE.txt", "logo.png", "x/.cache/a.json"],
      ["rows.json"],
    ],
    ["text", ["books.txt"], ["books.txt"]],
  ])("%s", (_name, files, expected) => {
    expect(namesOf([...USUAL, ...files])).toEqual(expected);
  });

  test("other splits, several, and all of them", () => {
    const files = ["data/train_sft-00000-of-00001.parquet", "data/test_sft-00000-of-00001.parquet"];
    expect(namesOf(files, { split: "test_sft" })).toEqual([files[1]]);
    expect(namesOf(files, { split: "train_sft+test_sft" })).toEqual(files);
    expect(namesOf(files, { split: "all" })?.toSorted()).toEqual(files.toSorted());
    expect(refusal(() => namesOf(files))).toBe(
      'org/name has no split "train"; it has train_sft, test_sft.\nSet split to one of them: split: train_sft.',
    );
    expect(refusal(() => namesOf(files, { split: "train_sft[:100]" }))).toContain(
      "max_dataset_length",
    );
  });

  test("several kinds of which none is named are refused with the list", () => {
    expect(refusal(() => namesOf(["a.csv", "b.jsonl"]))).toMatch(
      /^org\/name has data files of several kinds.*: a\.csv \(1000 B\), b\.jsonl \(1000 B\)\.\nName one, as in org\/name\/a\.csv/,
    );
  });

  test("a file, a folder or a pattern that is named", () => {
    const files = ["a/train.jsonl", "a/test.jsonl", "b/x.json", "odd.dat"];
    expect(namesOf(files, { path: "b/x.json" })).toEqual(["b/x.json"]);
    expect(namesOf(files, { path: "odd.dat" })).toEqual(["odd.dat"]);
    expect(namesOf(files, { path: "a" })).toEqual(["a/train.jsonl"]);
    expect(namesOf(files, { path: "a/*.jsonl" })).toEqual(["a/test.jsonl", "a/train.jsonl"]);
    expect(refusal(() => namesOf(files, { path: "c" }))).toContain(
      "org/name has no file, folder or config c: a/train.jsonl (1000 B)",
    );
  });

  test.each([
    ["nothing", []],
    ["pictures", ["a.png", "b.png"]],
  ])("%s is refused", (_name, files) => {
    expect(refusal(() => namesOf([...USUAL, ...files]))).toContain("has no data that Hone reads");
  });
});

describe("by the head of the README", () => {
  const configs = readCardConfigs(`---
configs:
- config_name: en
  data_files:
  - {split: train, path: "en/*.json"}
  - {split: test, path: en/last.jsonl}
- config_name: zh
  data_dir: zh
---
`);
  const files = ["en/a.json", "en/b.json", "en/last.jsonl", "zh/train.csv", "zh/dev.csv"];

  test("a config is chosen by its name", () => {
    expect(namesOf(files, { configs, path: "en" })).toEqual(["en/a.json", "en/b.json"]);
    expect(namesOf(files, { configs, path: "en", split: "test" })).toEqual(["en/last.jsonl"]);
    expect(namesOf(files, { configs, path: "zh" })).toEqual(["zh/train.csv"]);
    expect(refusal(() => namesOf(files, { configs }))).toMatch(
      /^org\/name has 2 configs: en, zh\.\nName one of them, as in org\/name\/en\./,
    );
  });

  test.each([
    ["said to be it", "default: true", "other"],
    ["of that name", "", "default"],
  ])("the default is the one %s", (_name, more, name) => {
    const yaml = `---\nconfigs:\n- config_name: a\n  data_files: a.json\n- config_name: ${name}\n  data_files: b.json\n  ${more}\n---\n`;
    const choice = chooseDataFiles(
      listed(["a.json", "b.json"]),
      request({ configs: readCardConfigs(yaml) }),
    );
    expect(choice).toMatchObject({ files: [{ name: "b.json" }], config: name, split: "train" });
  });

  test("a pattern of nothing is told with the splits that there are", () => {
    const none = readCardConfigs(`---\nconfigs:\n- data_files: gone/*.json\n---\n`);
    expect(refusal(() => namesOf(["a.json"], { configs: none }))).toContain(
      'no split "train"; it has none that can be read',
    );
  });
});

describe("made by a script", () => {
  test("only the hub's conversion tells, unless a file is named", () => {
    const files = ["name.py", "raw.json"];
    expect(chooseDataFiles(listed(files), request())).toBeUndefined();
    expect(chooseDataFiles(listed(files), request({ path: "some_config" }))).toBeUndefined();
    expect(namesOf(files, { path: "raw.json" })).toEqual(["raw.json"]);
    expect(namesOf(["other.py", "raw.json"])).toEqual(["raw.json"]);
  });

  test("the conversion's folders are configs and splits", () => {
    const files = [
      "default/train/0001.parquet",
      "default/train/0000.parquet",
      "default/test/0000.parquet",
      "zh/train/0000.parquet",
    ];
    expect(converted(files)).toEqual(["default/train/0000.parquet", "default/train/0001.parquet"]);
    expect(converted(files, { path: "zh" })).toEqual(["zh/train/0000.parquet"]);
    expect(converted(["all/train/0000.parquet"])).toEqual(["all/train/0000.parquet"]);
    expect(refusal(() => converted(files, { path: "xx" }))).toContain("has no config xx");
    expect(refusal(() => converted(["a/train/0.parquet", "b/train/0.parquet"]))).toContain(
      "has 2 configs: a, b",
    );
  });

  test("a conversion of the beginning alone says so", () => {
    const choice = chooseConverted(listed(["default/partial-train/0000.parquet"]), request());
    expect(choice.reason).toBe("beginning");
    expect(choice.files).toHaveLength(1);
  });
});
