// PyTorch's autograd against the references put together: two ways to the same numbers.
import { expect, test } from "vitest";
import expected from "../fixtures/torch/expected/losses.json" with { type: "json" };
import batch from "../fixtures/torch/inputs.json" with { type: "json" };
import stored from "../fixtures/torch/nf4.json" with { type: "json" };
import tinyLlama from "../fixtures/torch/tiny-llama/config.json" with { type: "json" };
import tinyLlama3 from "../fixtures/torch/tiny-llama3/config.json" with { type: "json" };
import { largestError } from "./finite-differences.ts";
import { llama, type Llama, type LlamaConfig } from "./llama.ts";
import { dequantize, dequantizeAbsmax, doubleQuantize, quantize } from "./nf4.ts";
import { readTensors } from "./safetensors.ts";

const configs: Record<string, LlamaConfig> = { "tiny-llama": tinyLlama, "tiny-llama3": tinyLlama3 };
const losses: Record<string, number> = expected.losses;
const digests: Record<string, Record<string, { offset: number }>> = stored;

test.each(
  ["tiny-llama", "tiny-llama3"].flatMap((name) => ["none", "nf4"].map((base) => ({ name, base }))),
)("the references together agree with PyTorch: $name, base $base", ({ name, base }) => {
  const model = readModel(name, base);
  const { logits, loss, gradients } = llama(model, batch);

  // Both sides are f64; the fixture was rounded to f32, which is 6e-8 of the largest value.
  expect(loss).toBeCloseTo(losses[`${name}-${base}`]!, 10);
  const torchLogits = readTensors(`expected/${name}-${base}-logits.safetensors`).get("logits")!;
  expect(largestError(logits, torchLogits.values)).toBeLessThan(1e-7);

  const torchGradients = readTensors(`expected/${name}-${base}-gradients.safetensors`);
  expect([...gradients.keys()].toSorted()).toEqual([...torchGradients.keys()].toSorted());
  const wrong = [...torchGradients].filter(
    ([tensor, { values }]) => !(largestError(gradients.get(tensor)!, values) < 1e-7),
  );
  expect(wrong.map(([tensor]) => tensor)).toEqual([]);
});

function readModel(name: string, base: string): Llama {
  const tensors = readTensors(`${name}/model.safetensors`);
  const weights = new Map([...tensors].map(([tensor, { values }]) => [tensor, values]));
  if (base === "nf4") {
    // The offset is given, since the order of its sum is torch's own.
    for (const [tensor, { offset }] of Object.entries(digests[name]!)) {
      weights.set(tensor, throughNf4(weights.get(tensor)!, offset));
    }
  }
  const adapter = readTensors(`${name}-adapter/adapter_model.safetensors`);
  return {
    config: configs[name]!,
    weights,
    adapter: new Map([...adapter].map(([tensor, { values }]) => [tensor, values])),
    rank: 8,
    scale: 16 / 8,
  };
}

function throughNf4(weights: Float32Array, offset: number): Float32Array {
  const { packed, absmax } = quantize(weights);
  const { quantized, nestedAbsmax } = doubleQuantize(absmax, offset);
  return dequantize(packed, dequantizeAbsmax(quantized, nestedAbsmax, offset));
}
