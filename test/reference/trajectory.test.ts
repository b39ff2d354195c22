// Training steps put together from the references, against torch.optim on autograd's gradients.
import { expect, test } from "vitest";
import stored from "../fixtures/torch/nf4.json" with { type: "json" };
import tinyLlama from "../fixtures/torch/tiny-llama/config.json" with { type: "json" };
import trajectory from "../fixtures/torch/trajectory/trajectory.json" with { type: "json" };
import { adamw, startAdamw } from "./adamw.ts";
import { NO_TARGET } from "./cross-entropy.ts";
import { clipCoefficient, gradNorm } from "./grad-norm.ts";
import { llama, type Llama } from "./llama.ts";
import { dequantize, dequantizeAbsmax, doubleQuantize, quantize } from "./nf4.ts";
import { readTensors } from "./safetensors.ts";

test(
  "accumulated, clipped AdamW steps follow PyTorch's, past the end of the warm-up",
  { timeout: 60_000 },
  () => {
    const model = startModel();
    const states = new Map([...model.adapter].map(([name, values]) => [name, startAdamw(values)]));
    // Five of the thirty: each micro-batch comes round twice, and the rate has peaked.
    for (let step = 0; step < 5; step++) {
      const { loss, gradients } = accumulate(model, step);
      const norm = gradNorm(...gradients.values());
      // f64 on both sides: only the order of sums differs.
      expect(loss).toBeCloseTo(trajectory.f64.losses[step]!, 9);
      expect(norm).toBeCloseTo(trajectory.f64.gradientNorms[step]!, 9);

      const coefficient = clipCoefficient(norm, trajectory.maxNorm);
      for (const [name, state] of states) {
        const clipped = gradients.get(name)!.map((gradient) => gradient * coefficient);
        const next = adamw(state, clipped, {
          step: step + 1,
          rate: trajectory.learningRates[step]!,
          beta1: trajectory.betas[0]!,
          beta2: trajectory.betas[1]!,
          epsilon: trajectory.epsilon,
          weightDecay: trajectory.weightDecay,
        });
        states.set(name, next);
        model.adapter.set(name, next.parameters);
      }
    }
  },
);

/** Loss and gradients of one step's passes, each weighted by its share of the label tokens. */
function accumulate(model: Llama, step: number) {
  const { microBatches, passesPerStep } = trajectory;
  const group = Array.from({ length: passesPerStep }, (_, pass) => {
    const batch = microBatches[(passesPerStep * step + pass) % microBatches.length]!;
    const labels = batch.targets.filter((target) => target !== NO_TARGET).length;
    return { ...llama(model, batch), labels };
  });
  const labels = group.reduce((sum, pass) => sum + pass.labels, 0);
  const gradients = new Map(
    [...model.adapter.keys()].map((name) => {
      const parts = group.map((pass) => ({ ...pass, part: pass.gradients.get(name)! }));
      const sum = parts[0]!.part.map((_, i) =>
        parts.reduce((total, pass) => total + pass.part[i]! * (pass.labels / labels), 0),
      );
      return [name, sum] as const;
    }),
  );
  const loss = group.reduce((sum, pass) => sum + pass.loss * (pass.labels / labels), 0);
  return { loss, gradients };
}

function startModel(): Llama {
  const weights = new Map<string, ArrayLike<number>>();
  const digests: Record<string, { offset: number }> = stored["tiny-llama"];
  for (const [name, { values }] of readTensors("tiny-llama/model.safetensors")) {
    const { packed, absmax } = quantize(values);
    const { quantized, nestedAbsmax, offset } = doubleQuantize(absmax, digests[name]?.offset);
    const scales = dequantizeAbsmax(quantized, nestedAbsmax, offset);
    weights.set(name, name in digests ? dequantize(packed, scales) : values);
  }
  const adapter = readTensors("trajectory/start/adapter_model.safetensors");
  return {
    config: tinyLlama,
    weights,
    adapter: new Map([...adapter].map(([name, { values }]) => [name, values])),
    rank: 8,
    scale: 16 / 8,
  };
}
