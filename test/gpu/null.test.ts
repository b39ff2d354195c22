import { expect, test } from "vitest";
import { Recorder } from "../../src/gpu/program.ts";
import { StepScalars } from "../../src/gpu/step-scalars.ts";
import type { Tensor } from "../../src/gpu/tensor.ts";
import { Workspace } from "../../src/gpu/workspace.ts";
import { nullGpu, testGpu } from "../gpu.ts";
import { add } from "./add.ts";

test("the host spends little on a dispatch", async ({ annotate }) => {
  const gpu = await nullGpu();
  const recorder = new Recorder(gpu, "many", new Workspace(gpu), new StepScalars(gpu));
  let x: Tensor = gpu.allocate("x", "f32", [64]);
  const count = 1000;
  const started = performance.now();
  for (let i = 0; i < count; i++) {
    const y = recorder.transient(`y ${i}`, "f32", [64]);
    // Flops of a small model's step, so that the run is split as a real one is.
    add(recorder, { x, y, addend: i, flops: 1e7 });
    x = y;
  }
  const program = await recorder.build();
  const built = performance.now();
  program.learnSpeed(0.5);
  const timings = [];
  for (let i = 0; i < 20; i++) {
    const before = performance.now();
    program.run();
    timings.push(performance.now() - before);
    await gpu.finish();
  }
  const microseconds = (timings.toSorted((a, b) => a - b)[10]! / count) * 1000;
  await annotate(
    `recorded and built at ${((built - started) / count).toFixed(3)} ms, replayed at ${microseconds.toFixed(1)} µs a dispatch`,
  );
  // A few microseconds where nothing else runs; the bound leaves room for a busy machine, and none for
  // making buffers or bind groups anew, or waiting.
  expect(microseconds).toBeLessThan(200);
});

test("a baseline device has WebGPU's default limits and no optional feature", async () => {
  const gpu = await testGpu({ baseline: true });
  const { limits } = gpu.device;
  // The defaults of WebGPU's table of limits.
  expect(limits.maxStorageBufferBindingSize).toBe(2 ** 27);
  expect(limits.maxBufferSize).toBe(2 ** 28);
  expect(limits.maxComputeWorkgroupStorageSize).toBe(16_384);
  expect(limits.maxComputeInvocationsPerWorkgroup).toBe(256);
  expect(limits.maxStorageBuffersPerShaderStage).toBe(8);
  expect(limits.maxComputeWorkgroupsPerDimension).toBe(65_535);
  expect(gpu.maxTensorBytes).toBe(2 ** 27);
  expect(gpu.hasF16).toBe(false);
  expect(gpu.hasTimestamps).toBe(false);
  expect(gpu.hasSubgroups).toBe(false);
  expect(gpu.hasSubgroupSizes).toBe(false);
  expect(gpu.matrixConfigs).toEqual([]);
});

test("otherwise a device has what its adapter offers, f16 only if it is wanted", async () => {
  const gpu = await nullGpu();
  expect(gpu.hasF16).toBe(true);
  expect(gpu.hasTimestamps).toBe(true);
  const without = await nullGpu({ withoutF16: true });
  expect(without.hasF16).toBe(false);
  expect(without.hasTimestamps).toBe(true);
});

test("a device has subgroups where its adapter does, and matrices that the adapter tells of", async () => {
  const gpu = await nullGpu();
  expect(gpu.hasSubgroups).toBe(true);
  expect(gpu.hasSubgroupSizes).toBe(true);
  expect(gpu.matrixConfigs).toEqual([]); // the null backend has the feature, and tells of none
  const config = { componentType: "f16", resultComponentType: "f32", M: 16, N: 16, K: 16 };
  const told = await nullGpu({ matrixConfigs: [config] });
  expect(told.matrixConfigs).toEqual([config]);
});
