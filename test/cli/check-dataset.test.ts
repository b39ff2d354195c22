// What a config of XTuner says of its data, as check-dataset judges it.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { faultsOf } from "../../src/cli/check-dataset.ts";
import { readXtunerConfig } from "../../src/xtuner/read-xtuner-config.ts";

const FIXTURE = "../fixtures/xtuner/internlm2_1_8b_qlora_alpaca_e3_copy.py";
const TUTORIAL = readFileSync(join(import.meta.dirname, FIXTURE), "utf8");

function notesOf(columns: string, packs: string) {
  const text = TUTORIAL.replace("remove_unused_columns=True", `remove_unused_columns=${columns}`);
  return readXtunerConfig(
    text.replace(/^pack_to_max_length = True$/m, `pack_to_max_length = ${packs}`),
    "a.py",
  ).notes;
}

test("packing with the columns kept is a warning to train, and wrong for check-dataset", () => {
  expect(TUTORIAL).toMatch(/^pack_to_max_length = True$/m);
  const notes = notesOf("False", "True");
  const [fault] = faultsOf(notes);
  expect(notes).toContainEqual({ severity: "warning", text: fault?.problem });
  expect(fault).toMatchObject({
    severity: "error",
    problem: expect.stringMatching(
      /^line 102: .+We have to remove unused columns if `pack_to_max_length` is set to True\.$/,
    ),
  });
});

test.each([
  ["True", "True"],
  ["False", "False"],
  ["True", "False"],
])("remove_unused_columns=%s with pack_to_max_length=%s is sound", (columns, packs) => {
  expect(faultsOf(notesOf(columns, packs))).toEqual([]);
});
