import { expect, test } from "vitest";
import { tryVariants } from "../../src/engine/try-variants.ts";
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
  expect(names.get("nf4.fused")?.[0]).toBe("0");
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

function few(names: readonly string[]): string[] {
  return names.filter((name, i) => i === 0 || name.endsWith("tile 32x32x16")).slice(0, 2);
}
