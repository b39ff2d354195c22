// What the measured steps keep of the forward pass: what a run of the same setting would, on the same adapter.
//
// The model is laid out on a GPU that only counts, so that this takes no memory and no time of the real one.
import { invariant } from "../src/base/error.ts";
import { chooseKeeping, arenaCount, type Room } from "../src/engine/runs/kept-memory.ts";
import { countingGpu, limitsOf } from "../src/gpu/counting.ts";
import { type Gpu, TooLargeError } from "../src/gpu/device.ts";
import { byteLength } from "../src/gpu/tensor.ts";
import type { Architecture } from "../src/model/architecture.ts";
import { logitRows } from "../src/model/head.ts";
import { type Checkpointing, KEEPING_WEIGHTS, keepingAt } from "../src/model/keeping.ts";
import type { Model } from "../src/model/transformer.ts";
import { createStepper, DROPOUT, prepareModel } from "./prepare.ts";

/** As `gradient_checkpointing` takes it. */
export const CHECKPOINTING = ["auto", "on", "off"] as const;
export type CheckpointingSetting = (typeof CHECKPOINTING)[number];

const WANTED = { auto: "auto", on: true, off: false } as const;

/** What a run over rows of so many tokens keeps, where it may take as much as `room` says. */
export async function keptBy(
  setting: CheckpointingSetting,
  gpu: Gpu,
  architecture: Architecture,
  tokens: number,
  room: Room | undefined,
): Promise<Checkpointing> {
  const { checkpointing } = await chooseKeeping({
    wanted: WANTED[setting],
    layers: architecture.layers,
    room,
    estimate: (kept) => countMemory(gpu, architecture, tokens, kept),
    openCount: async () =>
      arenaCount(await countedModel(gpu, architecture, tokens), tokens, DROPOUT),
  });
  return checkpointing;
}

/** What the model and its steps take, counted; `arena` is all that lives within a step. */
export async function countMemory(
  gpu: Gpu,
  architecture: Architecture,
  tokens: number,
  kept: Checkpointing,
) {
  try {
    const model = await countedModel(gpu, architecture, tokens);
    await createStepper(model, tokens, kept);
    const { vocab } = architecture;
    const lossChunk = byteLength("f32", [logitRows(model.gpu, vocab, tokens), vocab]);
    const arena = model.workspace.bytes;
    return { total: model.gpu.peakBytes, arena, byKind: { activations: arena - lossChunk } };
  } catch (error) {
    if (error instanceof TooLargeError) return error;
    throw error;
  }
}

/**
 * How many of a micro-batch's dispatches belong to no layer: embedding, final norm, head and loss. A program
 * of two layers has one layer's more than a program of one.
 */
export async function dispatchesOutsideLayers(
  gpu: Gpu,
  architecture: Architecture,
  tokens: number,
): Promise<number> {
  const [kind] = architecture.layerKinds;
  invariant(kind !== undefined, () => "a model without layers");
  const count = async (layers: number) => {
    const layerKinds = Array.from({ length: layers }, () => kind);
    const model = await countedModel(gpu, { ...architecture, layers, layerKinds }, tokens);
    const stepper = await createStepper(model, tokens, keepingAt(KEEPING_WEIGHTS, layers));
    return stepper.trainProgram.dispatchCount;
  };
  return 2 * (await count(1)) - (await count(2));
}

function countedModel(gpu: Gpu, architecture: Architecture, tokens: number): Promise<Model> {
  return prepareModel(countingGpu(limitsOf(gpu)), { name: "counted", architecture }, tokens);
}
