// A model in one file a tensor: the same tensors under the same names, whatever form they came in.
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { splitModel } from "../../../src/engine/exports/split.ts";
import { openFolder } from "../../../src/hosts/node.ts";
import { openModelFiles } from "../../../src/model/files/checkpoint-files.ts";
import { torchFile } from "../../formats/torch-maker.ts";
import { temporaryFolder, writeTinyModel } from "../tiny-folder.ts";

const number = (value: number) => String(value).padStart(5, "0");

async function readAll(path: string) {
  const { tensors } = await openModelFiles(openFolder(path));
  const all: [string, { dtype: string; shape: readonly number[]; bytes: Uint8Array }][] = [];
  for (const [name, tensor] of tensors) {
    const { dtype, shape } = tensor;
    const bytes = await tensor.read(
      0,
      shape.reduce((product, size) => product * size, 1),
    );
    all.push([name, { dtype, shape, bytes: Buffer.from(bytes) }]);
  }
  return all.toSorted(([a], [b]) => (a < b ? -1 : 1));
}

test.each(["safetensors", "pickles"])(
  "a model in %s is split into a file a tensor",
  async (form) => {
    const model = writeTinyModel("BF16", false);
    const tensors = await readAll(model);
    if (form === "pickles") {
      rmSync(join(model, "model.safetensors"));
      writeFileSync(join(model, "pytorch_model.bin"), torchFile(tensors));
    }
    for (const name of ["README.md", ".gitattributes", "modeling_x.py", "model-notes.txt"]) {
      writeFileSync(join(model, name), name);
    }
    mkdirSync(join(model, "inside"));
    const output = join(temporaryFolder(), "pieces");
    const { check } = await splitModel(openFolder(model), openFolder(output));
    expect(check).toBe(`${tensors.length} tensors read back equal, each in a file of its own`);
    expect((await readAll(output)).map(([name, { bytes }]) => [name, bytes.toString()])).toEqual(
      tensors.map(([name, { bytes }]) => [name, bytes.toString()]),
    );
    const files = readdirSync(output);
    const weights = files.filter((name) => name.endsWith(".safetensors"));
    expect(weights).toEqual(
      tensors.map((_, i) => `model-${number(i + 1)}-of-${number(tensors.length)}.safetensors`),
    );
    expect(files.filter((name) => !weights.includes(name))).toEqual([
      "README.md",
      "config.json",
      "model.safetensors.index.json",
      "modeling_x.py",
      "special_tokens_map.json",
      "tokenizer.json",
      "tokenizer_config.json",
    ]);
  },
);
