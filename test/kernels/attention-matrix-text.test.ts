import { expect, test } from "vitest";
import { countingGpu } from "../../src/gpu/counting.ts";
import { nullGpu } from "../gpu.ts";
import { compileVariant } from "./attention-cases.ts";
import type { Case } from "./attention-shapes.ts";

// Subgroups of one size are not asked for it.
const LARGE_INFO = {
  isFallbackAdapter: false,
  subgroupMinSize: 32,
  subgroupMaxSize: 32,
} as GPUAdapterInfo;
const LARGE = { maxComputeWorkgroupStorageSize: 49_152, maxComputeInvocationsPerWorkgroup: 1024 };

// The null backend has 16 KiB of workgroup memory, which longer heads and tiles of 32 others take more than. No
// pipeline is made: what its compiler says of a text does not depend on memory.
test.each([64, 80, 96, 128])(
  "by matrices, heads of %i in tiles of 32 are sound WGSL",
  async (headSize) => {
    const { device } = await nullGpu();
    const limits = {
      ...LARGE,
      maxBufferSize: device.limits.maxBufferSize,
      maxStorageBufferBindingSize: device.limits.maxStorageBufferBindingSize,
    };
    const large = countingGpu({ info: LARGE_INFO, features: device.features, limits });
    const types = { componentType: "f16", resultComponentType: "f32" } as const;
    Object.defineProperty(large, "matrixConfigs", { value: [{ ...types, M: 16, N: 16, K: 16 }] });
    const modules: GPUShaderModule[] = [];
    large.device.createShaderModule = (descriptor) => {
      const module = device.createShaderModule(descriptor);
      modules.push(module);
      return module;
    };
    const shape: Case = {
      tokens: 5,
      heads: 4,
      kvHeads: 2,
      headSize,
      starts: [0],
      rotary: headSize,
    };
    device.pushErrorScope("validation");
    const names = await compileVariant(large, shape, "f16", "matrix 32 of 16x16x16 f16");
    expect(names.map((name) => name.replace(/ .*/, ""))).toEqual([
      "attention-matrix.forward",
      "attention-matrix-backward-turned.backward_queries",
      "attention-matrix-backward-turned.backward_keys",
    ]);
    const infos = await Promise.all(modules.map((module) => module.getCompilationInfo()));
    const errors = infos.flatMap(({ messages }) => messages.filter(({ type }) => type === "error"));
    expect(errors.map(({ message }) => message)).toEqual([]);
    expect(await device.popErrorScope()).toBeNull();
    expect(modules).toHaveLength(3);
  },
);
