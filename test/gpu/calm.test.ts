// Node sleeps while it waits for the GPU.
import { expect, test, vi } from "vitest";
import { calmDawn } from "../../src/hosts/node-calm.ts";
import { testGpu } from "../gpu.ts";

const turns = vi.spyOn(globalThis, "setImmediate"); // before Dawn is calmed, so that what is passed on counts
const { device } = await testGpu();

const code = `
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
override count: u32;
@compute @workgroup_size(1) fn main() {
  for (var i = 0u; i < count; i++) { out[0] = out[0] * 1664525u + 1013904223u; }
}`;

/** Lets the GPU count, and tells how long that took and in how many turns of the loop Dawn looked for its end. */
async function wait(count: number) {
  const module = device.createShaderModule({ code });
  const compute = { module, constants: { count } };
  const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute });
  const buffer = device.createBuffer({ size: 4, usage: GPUBufferUsage.STORAGE });
  const layout = pipeline.getBindGroupLayout(0);
  const group = device.createBindGroup({ layout, entries: [{ binding: 0, resource: { buffer } }] });
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, group);
  pass.dispatchWorkgroups(1);
  pass.end();
  device.queue.submit([encoder.finish()]);
  turns.mockClear();
  const started = performance.now();
  await device.queue.onSubmittedWorkDone();
  return { milliseconds: performance.now() - started, turns: turns.mock.calls.length };
}

test("a long wait takes few turns of the event loop", async () => {
  let seen = await wait(1 << 16);
  for (let bits = 17; seen.milliseconds < 100; bits++) seen = await wait(2 ** bits);
  // Tens of turns a millisecond in the first two; then none, where it was a dozen and more in each.
  expect(seen.turns / seen.milliseconds).toBeLessThan(3);
});

test("immediates of others are called at once, and keep their arguments", async () => {
  calmDawn(); // a second time changes nothing
  const order: string[] = [];
  const timer = new Promise<void>((resolve) => {
    setTimeout(() => resolve(void order.push("timer")), 5);
  });
  await new Promise<void>((resolve) => {
    setImmediate((word: string) => resolve(void order.push(word)), "immediate");
  });
  await timer;
  expect(order).toEqual(["immediate", "timer"]);
});
