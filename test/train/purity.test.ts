// After the first step nothing is created, and nothing waits for the GPU inside a step.
import { expect, test } from "vitest";
import type { Stepper } from "../../src/train/step.ts";
import { fileURLToPath } from "node:url";
import { createStepper, prepareModel, subjectOf } from "../../bench/prepare.ts";
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

test("a micro-batch is one upload besides its scalars, and none waits for another's run", async () => {
  const stepper = await preparedStepper(true);
  const { queue } = gpu.device;
  const [write, submit] = [queue.writeBuffer.bind(queue), queue.submit.bind(queue)];
  const calls: string[] = [];
  queue.writeBuffer = (...operands: Parameters<GPUQueue["writeBuffer"]>) => {
    calls.push(operands[0].label);
    return write(...operands);
  };
  queue.submit = (buffers) => {
    if (calls.at(-1) !== "submit") calls.push("submit");
    return submit(buffers);
  };
  // With fewer labels, fewer chunks of the head run; with none, there is nothing to run but the optimizer.
  const targets = batch.targets.map((target, token) => (token % 7 === 0 ? target : 0xffff_ffff));
  const few = { ...batch, targets, labelTokens: 7 };
  const none = { ...batch, targets: targets.map(() => 0xffff_ffff), labelTokens: 0 };
  const outcome = stepper.run([batch, few, none], 0, 1e-3);
  const submitted = [...calls];
  await outcome;
  Object.assign(queue, { writeBuffer: write, submit });
  const micro = ["batch", "step", "submit"];
  expect(submitted).toEqual(["optimizer.state", ...micro, ...micro, ...micro]);
});

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
