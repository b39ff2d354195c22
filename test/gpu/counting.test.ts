// A GPU that only counts takes what a real one takes, buffer for buffer, and needs none to be there.
import { expect, test } from "vitest";
import { type AdapterLimits, countingGpu } from "../../src/gpu/counting.ts";
import { type Gpu, TooLargeError } from "../../src/gpu/device.ts";
import { Recorder } from "../../src/gpu/program.ts";
import { ReportRing } from "../../src/gpu/report-ring.ts";
import { StepScalars } from "../../src/gpu/step-scalars.ts";
import { read, type Tensor, write } from "../../src/gpu/tensor.ts";
import { Workspace } from "../../src/gpu/workspace.ts";
import { testGpu } from "../gpu.ts";
import { add } from "./add.ts";

/** Some of everything that allocates; bytes held after each part, and the peak. */
async function exercise(gpu: Gpu): Promise<number[]> {
  const held: number[] = [];
  const note = () => held.push(gpu.allocatedBytes, gpu.peakBytes);
  const workspace = new Workspace(gpu);
  const step = new StepScalars(gpu);
  note();
  const x = gpu.allocate("x", "f32", [1001]);
  write(gpu, x, new Float32Array(1001));
  note();
  const recorder = new Recorder(gpu, "test", workspace, step);
  const y = recorder.transient("y", "f32", [1001]);
  let last: Tensor = x;
  for (let i = 0; i < 5; i++) {
    const next = i === 4 ? y : recorder.transient(`y${i}`, "f32", [1001]);
    add(recorder, { x: last, y: next, addend: i });
    last = next;
  }
  const program = await recorder.build();
  note();
  program.run();
  await gpu.finish();
  await read(gpu, x, 16, 801);
  note();
  const ring = new ReportRing(gpu, x, 3);
  note();
  for (const part of [ring, program, step, workspace]) part.free();
  gpu.free(x);
  note();
  return held;
}

test("every part takes the same on both, and gives all of it back", async () => {
  const gpu = await testGpu();
  const { info, device } = gpu;
  const { features, limits } = device;
  const counted = await exercise(countingGpu({ info, features, limits }));
  expect(counted).toEqual(await exercise(gpu));
  expect(counted.at(-2)).toBe(0);
  expect(counted.at(-1)).toBeGreaterThan(3 * 4004); // it does count
});

test("without WebGPU's globals it counts all the same, and keeps the adapter's limits", async () => {
  const adapter: AdapterLimits = {
    info: { vendor: "someone" } as GPUAdapterInfo,
    features: new Set(["shader-f16"]),
    limits: { maxBufferSize: 8192, maxStorageBufferBindingSize: 4096 },
  };
  const names = ["GPUBufferUsage", "GPUMapMode", "GPUShaderStage"];
  const saved = names.map((name) => Reflect.get(globalThis, name) as unknown);
  for (const name of names) Reflect.deleteProperty(globalThis, name);
  try {
    const gpu = countingGpu(adapter);
    expect(gpu.hasF16).toBe(true);
    expect(gpu.maxTensorBytes).toBe(4096);
    expect((await exercise(gpu)).at(-2)).toBe(0);
    expect(() => gpu.allocate("large", "f32", [2049])).toThrow(TooLargeError);
  } finally {
    names.forEach((name, index) => Reflect.set(globalThis, name, saved[index]));
  }
});
