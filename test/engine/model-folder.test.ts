// What a model folder is made of, where its parts do not quite agree.
import { readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { openModelFolder } from "../../src/engine/model-folder.ts";
import { openFolder } from "../../src/hosts/node.ts";
import { loadWeights } from "../../src/model/weights.ts";
import { testGpu } from "../gpu.ts";
import { temporaryFolder, writeTinyModel } from "./tiny-folder.ts";
import { quantizeModel } from "../../src/engine/exports/quantize.ts";

const gpu = await testGpu();

test("an added token that the model has no row for is letters like any others", async () => {
  const folder = writeTinyModel();
  const file = `${folder}/tokenizer.json`;
  const tokenizer = JSON.parse(readFileSync(file, "utf8")) as { added_tokens: object[] };
  const stray = { ...tokenizer.added_tokens[0], id: 2304, content: "<image_soft_token>" };
  tokenizer.added_tokens.push(stray);
  writeFileSync(file, JSON.stringify(tokenizer));
  const opened = await openModelFolder(openFolder(folder));
  expect(opened.tokenizer.vocabSize).toBe(2304);
  const ids = opened.tokenizer.encode("a <image_soft_token> b");
  expect(Math.max(...ids)).toBeLessThan(2304);
  expect(opened.tokenizer.decode(ids)).toBe("a <image_soft_token> b");
});

test("a tokenizer of more pieces than the model has rows is refused with both numbers", async () => {
  const folder = writeTinyModel("BF16", true, 2240);
  await expect(openModelFolder(openFolder(folder))).rejects.toThrow(
    /ids up to 2303; the model's vocab_size is 2240/,
  );
});

test("of a model in 4 bits, the maps that were left out stay as they are", async () => {
  const output = temporaryFolder();
  await quantizeModel(gpu, { model: openFolder(writeTinyModel()), output: openFolder(output) });
  const { architecture, files } = await openModelFolder(openFolder(output));
  const tensors = new Map(files.tensors);
  const down = "model.layers.1.mlp.down_proj.weight";
  const { nf4: _, ...plain } = tensors.get(down)!;
  tensors.set(down, plain);
  const weights = await loadWeights(
    gpu,
    architecture,
    { ...files, tensors },
    { quantization: "nf4", doubleQuant: true, positions: 8 },
  );
  const isNf4 = weights.blocks.map(({ linears }) => "codes" in linears.down.weight);
  expect(isNf4).toEqual([true, false]);
});
