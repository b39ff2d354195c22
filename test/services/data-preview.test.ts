import { readdirSync, readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { parseConfig } from "../../src/config/read.ts";
import { buildDataset } from "../../src/data/dataset.ts";
import { chooseTemplate, openModelFolder } from "../../src/engine/model-folder.ts";
import { openFolder } from "../../src/hosts/node.ts";
import type { TrainConfig } from "../../src/services/api.ts";
import { importText } from "../../src/services/data-import.ts";
import { exampleOf, previewData } from "../../src/services/data-preview.ts";
import { dataSources, entryFolder } from "../../src/services/storage.ts";
import { stubBrowser } from "../hosts/memory-browser.ts";
import { millisecondsOf } from "../timing.ts";

const SEEDLING = "public/models/seedling";

beforeEach(async () => {
  stubBrowser();
  const entry = await entryFolder("models", "seedling");
  await entry.write(
    "hone.json",
    JSON.stringify({ id: "seedling", name: "seedling", isComplete: true }),
  );
  for (const name of readdirSync(SEEDLING)) {
    await entry.write(`files/${name}`, readFileSync(`${SEEDLING}/${name}`));
  }
});
afterEach(() => vi.unstubAllGlobals());

const config = (change: Partial<TrainConfig> = {}): TrainConfig =>
  parseConfig({ model: "seedling", data: ["d"], max_length: 64, ...change }, "test");
const alpaca = (instruction: string, output: string) =>
  JSON.stringify({ instruction, input: "", output });
const DATA = [
  alpaca("Who are you?", "Robin."),
  "broken",
  alpaca("你是谁?", "我是小石,龘。"), // the last character is no token of its own
  alpaca("empty", "<nooutput>"),
  alpaca("Tell me a story. ".repeat(20), "No."),
];

async function trained(ids: readonly string[], options: TrainConfig) {
  const opened = await openModelFolder(openFolder(SEEDLING));
  const dataset = await buildDataset(await dataSources(ids), {
    tokenizer: opened.tokenizer,
    template: chooseTemplate(options.prompt_template, opened).template,
    system: options.system,
    maxLength: options.max_length,
    pack: options.pack_to_max_length,
    seed: options.seed,
    shuffleBeforePack: options.shuffle_before_pack,
    evalSplit: options.eval_split,
  });
  return { opened, dataset };
}

describe("a row is shown as training has it", () => {
  test.each(["auto", "default", "internlm2_chat"])(
    "by the template %s",
    async (prompt_template) => {
      const { id } = await importText("d.jsonl", DATA.join("\n"));
      const options = config({
        prompt_template,
        system: "Be brief.",
        pack_to_max_length: false,
        shuffle: false,
      });
      const { opened, dataset } = await trained([id], options);
      for (const [row, index] of [
        [0, 0],
        [2, 1],
      ] as const) {
        const shown = await exampleOf([id], "seedling", options, row);
        const { inputIds, labels } = dataset.train.at(index)!;
        expect(shown.tokens.map((token) => token.id)).toEqual([...inputIds]);
        expect(shown.tokens.map(({ isTrained }) => isTrained)).toEqual(
          [...labels].map((label) => label >= 0),
        );
        expect(shown.tokens.map(({ text }) => text).join("")).toBe(shown.rendered);
        expect(shown.rendered).toBe(opened.tokenizer.decode(inputIds));
        expect(shown).toMatchObject({ isCut: false, tokenCount: inputIds.length });
      }
    },
  );

  test("and one that is too long is cut, though its text is whole", async () => {
    const { id } = await importText("d.jsonl", DATA.join("\n"));
    const shown = await exampleOf([id], "seedling", config(), 4);
    expect(shown).toMatchObject({ isCut: true });
    expect(shown.tokens).toHaveLength(64);
    expect(shown.tokenCount).toBeGreaterThan(64);
    expect(shown.rendered).toContain("No.");
    expect(shown.tokens.some(({ isTrained }) => isTrained)).toBe(false);
  });

  test("rows of all chosen data sets are counted through; one that is left out says why", async () => {
    const first = await importText("d.jsonl", DATA.join("\n"));
    const second = await importText("e.jsonl", alpaca("Hello!", "Hi."));
    const ids = [first.id, second.id];
    expect((await exampleOf(ids, "seedling", config(), 5)).rendered).toContain("Hi.");
    await expect(exampleOf(ids, "seedling", config(), 1)).rejects.toThrow(
      "Row 2 of d.jsonl is left out: is not JSON",
    );
    await expect(exampleOf(ids, "seedling", config(), 6)).rejects.toThrow(
      "There is no row 7; the data sets hold 6.",
    );
    expect(await exampleOf(ids, "seedling", config(), 3)).toMatchObject({
      tokens: [],
      rendered: "",
    });
  });
});

describe("the funnel is training's own report", () => {
  test.each<Partial<TrainConfig>>([
    {},
    { pack_to_max_length: false },
    { eval_split: 0.3, seed: 7 },
    { prompt_template: "default", max_length: 24 },
  ])("with %j", async (change) => {
    const rows = Array.from({ length: 23 }, (_, i) => alpaca(`ask ${i}`, `say ${i}`));
    const { id } = await importText("d.jsonl", [...DATA, ...rows].join("\n"));
    const options = config(change);
    const { funnel } = await previewData([id], "seedling", options, 0);
    expect(funnel).toEqual((await trained([id], options)).dataset.report);
    // The second time nothing is encoded again.
    const again = async () =>
      expect((await previewData([id], "seedling", options, 2)).funnel).toEqual(funnel);
    expect(await millisecondsOf(again)).toBeLessThan(200);
  });

  test("data of which nothing is left is refused in training's words", async () => {
    const { id } = await importText("d.jsonl", DATA[4]!);
    await expect(previewData([id], "seedling", config(), 0)).rejects.toThrow(
      "Nothing is left of the 1 row",
    );
  });

  test("a newer count ends an older one", async () => {
    const rows = Array.from({ length: 20_000 }, (_, i) => alpaca(`ask ${i}`, `say ${i}`));
    const { id } = await importText("d.jsonl", rows.join("\n"));
    const older = previewData([id], "seedling", config(), 0);
    older.catch(() => {}); // looked at below
    await exampleOf([id], "seedling", config(), 1); // the older one is under way
    await new Promise((resolve) => setTimeout(resolve, 100));
    const newer = await previewData([id], "seedling", config({ max_length: 32 }), 0);
    expect(newer.funnel.kept).toBe(20_000);
    await expect(older).rejects.toMatchObject({ name: "AbortedError" });
  });
});
