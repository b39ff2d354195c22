// What a layer costs in dispatches: each waits for the one before it, and each is host time.
import { expect, test } from "vitest";
import { countingGpu } from "../../src/gpu/counting.ts";
import { countKeepings, KEEPING_WEIGHTS, keepingAt } from "../../src/model/keeping.ts";
import { buildTrainProgram } from "../../src/model/transformer.ts";
import { nullGpu } from "../gpu.ts";
import { type FamilyFixture, loadFamily, readFamily } from "./family-models.ts";
import { uploadBatch } from "./tiny.ts";

const { info, device } = await nullGpu();
const gpu = countingGpu({ info, features: device.features, limits: device.limits });

/** The first layers of a fixture's model. */
function firstLayers(fixture: FamilyFixture, layers: number): FamilyFixture {
  const isHere = (path: string) => !path.includes(`.layers.${layers}.`);
  return {
    ...fixture,
    config: { ...fixture.config, num_hidden_layers: layers },
    targets: fixture.targets.filter(({ path }) => isHere(path)),
    matrices: new Map([...fixture.matrices].filter(([path]) => isHere(path))),
  };
}

/** Dispatches of a micro-batch with NF4 weights, LoRA on all maps of a layer, and dropout. */
async function dispatches(fixture: FamilyFixture, layers: number, keeping: number) {
  const { batch } = fixture;
  const model = await loadFamily(gpu, firstLayers(fixture, layers), {
    quantization: "nf4",
    positions: batch.tokens,
  });
  const program = await buildTrainProgram(model, {
    batch: uploadBatch(gpu, batch),
    state: gpu.allocate("state", "f32", [16]),
    checkpointing: keepingAt(keeping, layers),
    dropout: 0.1,
  });
  return program.dispatchCount;
}

test.each([
  ["mistral", "as Llama's", 41],
  ["internlm2", "InternLM2's", 41],
  ["qwen3", "Qwen3's, which norms its heads", 44],
])("a layer of %s (%s) takes %i, forward, again and backward", async (name, _, most) => {
  const fixture = readFamily(name);
  const again =
    (await dispatches(fixture, 2, KEEPING_WEIGHTS)) -
    (await dispatches(fixture, 1, KEEPING_WEIGHTS));
  expect(again).toBeLessThanOrEqual(most);
  // Weights are then expanded one by one, three of them twice for a backward pass, and h is made again.
  const least = (await dispatches(fixture, 2, 0)) - (await dispatches(fixture, 1, 0));
  expect(least).toBe(again + 9);
  const [two, one] = [2, 1].map((layers) => countKeepings(layers) - 1);
  const all = (await dispatches(fixture, 2, two!)) - (await dispatches(fixture, 1, one!));
  expect(all).toBeLessThanOrEqual(again - 6); // nothing is run again
});
