// The head of a data set's README, in all the forms that the library takes; what is none is as if it were not there.
import { expect, test } from "vitest";
import { readCardConfigs } from "../../src/config/data-card.ts";

const read = (yaml: string) =>
  readCardConfigs(`---\n${yaml}\n---\n# A data set\n`).map(({ splits, ...config }) => ({
    ...config,
    splits: splits && Object.fromEntries(splits),
  }));

test("configs, splits and patterns are read in every form", () => {
  const yaml = `
license: mit
configs:
- config_name: en
  data_files:
  - split: train
    path: en/train-*
  - split: test
    path: [en/a.jsonl, en/b.jsonl]
- config_name: zh
  default: true
  data_files: "zh/*.json"
- config_name: both
  data_files: [a.csv, b.csv]
- config_name: folder
  data_dir: ./inner/
- data_files: {train: x.parquet}`;
  expect(read(yaml)).toEqual([
    {
      name: "en",
      isDefault: false,
      folder: "",
      splits: { train: ["en/train-*"], test: ["en/a.jsonl", "en/b.jsonl"] },
    },
    { name: "zh", isDefault: true, folder: "", splits: { train: ["zh/*.json"] } },
    { name: "both", isDefault: false, folder: "", splits: { train: ["a.csv", "b.csv"] } },
    { name: "folder", isDefault: false, folder: "inner", splits: undefined },
    { name: "default", isDefault: false, folder: "", splits: { train: ["x.parquet"] } },
  ]);
});

test.each([
  ["no head", "# A data set"],
  ["a head that does not end", "---\nconfigs: []\n"],
  ["a head that is no YAML", "---\n{[}\n---\n"],
  ["no configs", "---\nlicense: mit\n---\n"],
  ["configs that are no list", "---\nconfigs: yes\n---\n"],
  ["configs that are no objects", "---\nconfigs: [1, null, [x]]\n---\n"],
  ["files that are numbers", "---\nconfigs:\n- data_files: [1, 2]\n---\n"],
  [
    "aliases that multiply",
    `---\na: &a [x,x,x,x,x,x,x,x,x]\n${"b c d e f g h"
      .split(" ")
      .map((letter, i) => `${letter}: &${letter} [${`*${"abcdefg"[i]},`.repeat(9)}]`)
      .join("\n")}\nconfigs: *h\n---\n`,
  ],
  ["brackets without end", `---\n${"[".repeat(100_000)}\n---\n`],
])("%s declares nothing", (_name, readme) => {
  const started = performance.now();
  expect(readCardConfigs(readme)).toEqual([]);
  expect(performance.now() - started).toBeLessThan(5000); // bombs take minutes, where they go off
});
