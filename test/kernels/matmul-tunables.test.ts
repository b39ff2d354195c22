import { expect, test } from "vitest";
import { tryVariants } from "../../src/engine/tuning/try-variants.ts";
import { countingGpu, limitsOf } from "../../src/gpu/counting.ts";
import type { Gpu } from "../../src/gpu/device.ts";
import { Recorder } from "../../src/gpu/program.ts";
import { StepScalars } from "../../src/gpu/step-scalars.ts";
import { Workspace } from "../../src/gpu/workspace.ts";
import { fusesNf4, matmulBackward, matmulForward } from "../../src/kernels/matmul.ts";
import { MATMUL_TUNABLES } from "../../src/kernels/matmul-tunables.ts";
import type { TrialSizes } from "../../src/kernels/tunable.ts";
import { nullGpu, testGpu } from "../gpu.ts";

const SIZES: TrialSizes = {
  hidden: 32,
  intermediate: 24,
  heads: 2,
  kvHeads: 1,
  headSize: 16,
  rank: 4,
  tokens: 20,
  act: "f32",
};

test("a device tries what it can run, in the type of its activations, and matrices last", async () => {
  const unit = { componentType: "f32", resultComponentType: "f32", M: 8, N: 8, K: 8 };
  const gpu = await nullGpu({ matrixConfigs: [unit] });
  const names = new Map(
    MATMUL_TUNABLES.map((tunable) => [tunable.slot, tunable.candidates(gpu, SIZES)]),
  );
  expect(names.get("matmul.f16.forward")).toEqual(["direct"]);
  for (const slot of ["matmul.f32.forward", "matmul.f32.backward"]) {
    const [first, second, ...others] = names.get(slot)!;
    expect([first, second]).toEqual(["direct", "tile 64x128x16"]);
    expect(others.at(-1)).toMatch(/^matrix .* of 8x8x8/);
    expect(others.filter((name) => name.startsWith("emulated"))).toEqual([]);
  }
  expect(names.get("nf4.fused.32")?.[0]).toBe("expand");
});

test.each(MATMUL_TUNABLES.filter(({ slot }) => !slot.includes("f16")))(
  "the first of its variants and another agree on made-up work: $slot",
  async (tunable) => {
    const gpu = await testGpu();
    const before = gpu.allocatedBytes;
    const { variants } = await tryVariants(
      gpu,
      { ...tunable, candidates: (on, sizes) => few(tunable.candidates(on, sizes)) },
      SIZES,
      { now: () => performance.now(), isOver: () => false, checkedBytes: Infinity },
    );
    expect(variants).toHaveLength(2);
    expect(variants.map(({ fault }) => fault)).toEqual([undefined, undefined]);
    expect(gpu.allocatedBytes).toBe(before);
  },
);

test("where nothing was tried a GPU takes tiles, software lanes or the direct kernel", async () => {
  const gpu = await nullGpu();
  expect(await untriedOn(gpu)).toEqual(["tile 64x128x16", "matmul-tile", "matmul-tile"]);
  const limits = limitsOf(gpu);
  const asSoftware = (lanes: number) => {
    const subgroups = { subgroupMinSize: lanes, subgroupMaxSize: lanes };
    const info = { isFallbackAdapter: true, ...subgroups } as GPUAdapterInfo;
    return countingGpu({ ...limits, info, features: new Set(lanes > 0 ? ["subgroups"] : []) });
  };
  expect(await untriedOn(asSoftware(4))).toEqual(["lanes 8x4", "matmul-lanes", "matmul-lanes"]);
  expect(await untriedOn(asSoftware(0))).toEqual(["direct", "matmul", "matmul"]);
});

/** What the slots say of products in f32, and the shaders that record them. */
async function untriedOn(gpu: Gpu): Promise<string[]> {
  const recorder = new Recorder(gpu, "untried", new Workspace(gpu), new StepScalars(gpu), {});
  const tensor = recorder.transient("weight", "f32", [24, 32]);
  const weight = { tensor, shape: [24, 32], kind: "native" } as const;
  const x = recorder.transient("x", "f32", [5, 32]);
  const y = recorder.transient("y", "f32", [5, 24]);
  matmulForward(recorder, { x, weight, y });
  matmulBackward(recorder, { dy: y, weight, dx: x });
  const { dispatchNames } = await recorder.build();
  const told = MATMUL_TUNABLES.filter(({ slot }) => slot.startsWith("matmul.f32"));
  const names = told.map((tunable) => tunable.untried?.(gpu) ?? "");
  return [...new Set(names), ...dispatchNames.map((name) => name.replace(/\..*/, ""))];
}

test("each range of rows unpacks NF4 inside where that was found, and is compared with the product that was", async () => {
  const gpu = await nullGpu();
  const choices = {
    "nf4.fused.32": "tile 32x32x16",
    "nf4.fused.128": "expand",
    "nf4.fused.256": "tile 64x64x16",
    "matmul.f32.forward": "tile 16x64x32",
  };
  const recorder = () =>
    new Recorder(gpu, "fused", new Workspace(gpu), new StepScalars(gpu), choices);
  const fused = [1, 32, 33, 128, 129, 256, 257].filter((rows) => fusesNf4(recorder(), rows));
  expect(fused).toEqual([1, 32, 129, 256]);
  const named = async (slot: string) => {
    const record = recorder();
    MATMUL_TUNABLES.find((tunable) => tunable.slot === slot)
      ?.trial(gpu, SIZES)
      .record(record);
    return (await record.build()).dispatchNames;
  };
  expect(await named("nf4.fused.256")).toEqual([
    expect.stringMatching(/^matmul-tile-nf4\.forward .*TILE_ROWS=64/),
  ]);
  expect(await named("nf4.fused.128")).toEqual([
    expect.stringMatching(/^dequantize/),
    expect.stringMatching(/^matmul-tile\.forward .*TILE_ROWS=16/),
  ]);
});

function few(names: readonly string[]): string[] {
  return names.filter((name, i) => i === 0 || name.endsWith("tile 32x32x16")).slice(0, 2);
}
