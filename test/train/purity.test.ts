// After the first step nothing is created, and nothing waits for the GPU inside a step.
import { expect, test } from "vitest";
import type { Stepper } from "../../src/train/step.ts";
import { fileURLToPath } from "node:url";
import { createStepper } from "../../bench/measure.ts";
import { prepareModel, subjectOf } from "../../bench/prepare.ts";
import { openFolder } from "../../src/hosts/node.ts";
import { nullGpu } from "../gpu.ts";
import { type BatchJson, microBatchOf, readFixture } from "../model/tiny.ts";

const gpu = await nullGpu();
const batch = microBatchOf(readFixture("inputs.json") as BatchJson);

test("steps after the first create no buffer, bind group or pipeline", async () => {
  const created = countCreations();
  const stepper = await preparedStepper();
  await stepper.run([batch, batch], 0, 1e-3);
  const before = { ...created };
  for (const count of Object.values(before)) expect(count).toBeGreaterThan(10); // it does count
  for (let step = 1; step <= 5; step++) await stepper.run([batch, batch], step, 1e-3);
  expect(created).toEqual(before);
});

test("a step is submitted whole before its first promise can settle", async () => {
  const stepper = await preparedStepper();
  const { queue } = gpu.device;
  const calls: string[] = [];
  const submit = queue.submit.bind(queue);
  queue.submit = (buffers) => {
    calls.push("submit");
    return submit(buffers);
  };
  const outcome = stepper.run([batch, batch], 0, 1e-3);
  const duringCall = calls.length; // `run` has returned without any chance for a promise to settle
  calls.push("returned");
  await outcome;
  queue.submit = submit;
  // Two micro-batches, the optimizer and the copy of its report at the least, and nothing afterwards.
  expect(duringCall).toBeGreaterThanOrEqual(4);
  expect(calls.slice(duringCall)).toEqual(["returned"]);
});

test("forward, recompute and backward take at most 60 dispatches a layer", async () => {
  const deep = await preparedStepper(true);
  const names = deep.trainProgram.dispatchNames;
  // Two layers; the first has no gradient to pass on, and the head, loss and embedding are few.
  expect(names.length / 2).toBeLessThanOrEqual(64);
  const perLayer = names.length - namesOutsideLayers(names);
  expect(perLayer / 2).toBeLessThanOrEqual(60);
});

function namesOutsideLayers(names: readonly string[]): number {
  return names.filter((name) => /^(embed|cross-entropy|matmul-packed)/.test(name)).length;
}

/** Counts calls on the device itself, whoever makes them. */
function countCreations(): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of ["createBuffer", "createBindGroup", "createComputePipelineAsync"] as const) {
    const create = gpu.device[name].bind(gpu.device) as (descriptor: never) => never;
    counts[name] = 0;
    Object.assign(gpu.device, {
      [name]: (descriptor: never) => {
        counts[name]!++;
        return create(descriptor);
      },
    });
  }
  return counts;
}

async function preparedStepper(checkpointing = false): Promise<Stepper> {
  const folder = openFolder(
    fileURLToPath(new URL("../fixtures/torch/tiny-llama", import.meta.url)),
  );
  const model = await prepareModel(gpu, await subjectOf(folder), batch.ids.length);
  return createStepper(model, batch.ids.length, checkpointing);
}
