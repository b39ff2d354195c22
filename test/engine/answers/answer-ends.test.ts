// What answers need to know of a template and a tokenizer before any is drawn.
import { expect, test } from "vitest";
import { parseConfig } from "../../../src/config/read.ts";
import { promptTemplate } from "../../../src/data/templates.ts";
import { refuseWithoutSystem } from "../../../src/engine/answers/chat.ts";
import { withEndsOf } from "../../../src/engine/runs/evaluate-run.ts";
import { openModelFolder } from "../../../src/engine/model-folder.ts";
import { openFolder } from "../../../src/hosts/node.ts";
import { writeTinyModel } from "../tiny-folder.ts";

const choose = (name: string) => ({ name, template: promptTemplate(name) });

test("under compat the questions end at the tokenizer's own end alone", async () => {
  const config = parseConfig({ model: "m", data: ["d"] }, "the test");
  const found = await openModelFolder(openFolder(writeTinyModel()));
  const { tokenizer } = found;
  expect(tokenizer.eosToken).toBeDefined();
  const own = tokenizer.idOf(tokenizer.eosToken ?? "");
  const opened = { ...found, endIds: [...found.endIds, 7] };
  expect(withEndsOf(config, opened).endIds).toEqual(opened.endIds);
  expect(withEndsOf({ ...config, compat: "xtuner-0.1.17" }, opened).endIds).toEqual([own]);
});

test("a template without a place for a system message is refused where one is to be said", () => {
  expect(() => refuseWithoutSystem(choose("minicpm"))).toThrow(
    /minicpm has no place for a system message[^]*--system/,
  );
  for (const name of ["none", "internlm2_chat"]) {
    expect(() => refuseWithoutSystem(choose(name))).not.toThrow();
  }
});
