// In a model with f16 activations every product takes the variant found for f16, also those of the gradients
// that are f32: of the logits, and of the residual stream.
import { expect, test } from "vitest";
import { countingGpu } from "../../src/gpu/counting.ts";
import { buildLogitsProgram, buildTrainProgram } from "../../src/model/transformer.ts";
import { nullGpu } from "../gpu.ts";
import { loadFamily, readFamily } from "./family-models.ts";
import { uploadBatch } from "./tiny.ts";

const { info, device } = await nullGpu();
const TILE = "tile 32x32x16";
const choices = { "matmul.f16.forward": TILE, "matmul.f16.backward": TILE };
const gpu = countingGpu({ info, features: device.features, limits: device.limits, choices });

// Gemma's gradients of what a map adds to the residual stream pass through a norm first.
test.each(["mistral", "gemma3"])(
  "%s in f16: no product is left to the direct kernel",
  async (name) => {
    const { batch, ...fixture } = readFamily(name);
    const model = await loadFamily(
      gpu,
      { batch, ...fixture },
      { quantization: "nf4", act: "f16", positions: batch.tokens },
    );
    const train = await buildTrainProgram(model, {
      batch: uploadBatch(gpu, batch),
      state: gpu.allocate("state", "f32", [16]),
      checkpointing: false,
      dropout: 0.1,
    });
    const { program: logits } = await buildLogitsProgram(model, uploadBatch(gpu, batch));
    const names = [...train.dispatchNames, ...logits.dispatchNames].filter((label) =>
      label.startsWith("matmul"),
    );
    expect(names.filter((label) => !label.startsWith("matmul-tile"))).toEqual([]);
    const rounded = names.filter((label) => /In=f32 .*Shared=f16/.test(label));
    const layers = Number(fixture.config["num_hidden_layers"]);
    // For each layer those of `down` and `attentionOut`, and the head's.
    expect(rounded.filter((label) => label.includes(".backward"))).toHaveLength(2 * layers + 1);
    expect(names.filter((label) => label.includes("Shared=f32"))).toEqual([]);
  },
);
