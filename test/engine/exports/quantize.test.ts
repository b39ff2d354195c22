// A model written in 4 bits is the model that loading quantizes: the same numbers, to the last bit.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { createRandom } from "../../../src/base/random.ts";
import { freeModel, loadModel } from "../../../src/engine/load-model.ts";
import { openModelFolder } from "../../../src/engine/model-folder.ts";
import { quantizeModel } from "../../../src/engine/exports/quantize.ts";
import { readF32 } from "../../../src/gpu/tensor.ts";
import { openFolder } from "../../../src/hosts/node.ts";
import { buildLogitsProgram } from "../../../src/model/transformer.ts";
import { testGpu } from "../../gpu.ts";
import { microBatchOf, uploadBatch } from "../../model/tiny.ts";
import { temporaryFolder, writeTinyModel } from "../tiny-folder.ts";

const gpu = await testGpu();
const base = writeTinyModel("BF16");
const TOKENS = 16;
const random = createRandom(5);
const batch = microBatchOf({
  ids: Array.from({ length: TOKENS }, () => Math.floor(random.next() * 2304)),
  targets: Array<number>(TOKENS).fill(0),
  positions: Array.from({ length: TOKENS }, (_, i) => i),
  segmentStart: Array<number>(TOKENS).fill(0),
});

test.each([true, false])("with double quantization %s", async (doubleQuant) => {
  const output = temporaryFolder();
  const progress: number[] = [];
  const { files, check } = await quantizeModel(gpu, {
    model: openFolder(base),
    output: openFolder(output),
    doubleQuant,
    onProgress: (bytes, total) => progress.push(bytes / total),
  });
  expect(check).toContain("14 weights read back in 4 bits");
  expect(files.map(({ name }) => name)).toEqual(
    expect.arrayContaining(["config.json", "model.safetensors", "tokenizer.json"]),
  );
  expect(progress.at(-1)).toBe(1);
  expect(progress).toEqual(progress.toSorted((a, b) => a - b));
  expect(await logitsOf(output, { quantization: "nf4" })).toEqual(
    await logitsOf(base, { quantization: "nf4", doubleQuant }),
  );
  // Without nf4 the file's weights are dequantized as they are read, and rounded to their own type.
  const rounded = await logitsOf(output, { quantization: "none" });
  expect(rounded).not.toEqual(await logitsOf(base, { quantization: "none" }));
});

test("a model that is in 4 bits already is refused, and so is its own folder", async () => {
  const once = temporaryFolder();
  await quantizeModel(gpu, { model: openFolder(base), output: openFolder(once) });
  const twice = quantizeModel(gpu, {
    model: openFolder(once),
    output: openFolder(temporaryFolder()),
  });
  await expect(twice).rejects.toThrow(/q_proj\.weight is in 4 bits already/);
  const config = readFileSync(`${once}/config.json`, "utf8");
  const same = quantizeModel(gpu, { model: openFolder(base), output: openFolder(base) });
  await expect(same).rejects.toThrow(/is the base model's own/);
  expect(readFileSync(`${once}/config.json`, "utf8")).toBe(config);
});

async function logitsOf(
  path: string,
  { quantization, doubleQuant = true }: { quantization: "nf4" | "none"; doubleQuant?: boolean },
): Promise<Float32Array> {
  const opened = await openModelFolder(openFolder(path));
  const options = { quantization, doubleQuant, computeDtype: "f32", positions: TOKENS } as const;
  const model = await loadModel(gpu, opened, options);
  const { program, logits } = await buildLogitsProgram(model, uploadBatch(gpu, batch));
  program.run();
  const values = await readF32(gpu, logits);
  freeModel(model);
  return values;
}
