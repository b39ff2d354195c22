// One forward and backward pass of a model, as tests ask for it.
import { readF32, write } from "../../src/gpu/tensor.ts";
import { firstOptimizerState } from "../../src/kernels/grad-norm.ts";
import type { LoraMatrices } from "../../src/model/adapter.ts";
import type { Checkpointing } from "../../src/model/keeping.ts";
import { buildTrainProgram, type Model } from "../../src/model/transformer.ts";
import type { MicroBatch } from "../../src/train/step.ts";
import { uploadBatch } from "./tiny.ts";

/** The mean loss, and gradients from zero on, divided by the loss scale. */
export async function trainOnce(
  model: Model,
  batch: MicroBatch,
  checkpointing: Checkpointing,
  lossScale: number,
): Promise<{ loss: number; gradients: Map<string, LoraMatrices> }> {
  const { gpu, adapter } = model;
  const state = gpu.allocate("state", "f32", [16]);
  const first = firstOptimizerState(false);
  first[0] = lossScale;
  write(gpu, state, first);
  for (const { training, count } of adapter!.banks) {
    write(gpu, training!.gradients, new Float32Array(count));
  }
  const tensors = uploadBatch(gpu, batch);
  const program = await buildTrainProgram(model, {
    batch: tensors,
    state,
    checkpointing,
    dropout: 0,
  });
  model.step.set({ lossWeight: 1 / batch.labelTokens });
  program.run();
  await gpu.finish();
  const gradients = await adapter!.read("gradients");
  for (const { a, b } of gradients.values()) {
    for (const values of [a, b]) values.forEach((value, i) => (values[i] = value / lossScale));
  }
  const loss = (await readF32(gpu, state))[8]! / batch.labelTokens;
  program.free();
  for (const tensor of [state, tensors.whole]) gpu.free(tensor);
  return { loss, gradients };
}
