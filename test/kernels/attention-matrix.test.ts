import { describe, expect, test } from "vitest";
import { runsForward } from "../../src/kernels/attention-matrix.ts";
import {
  type ActivationType,
  activationTypes,
  largestDifference,
  nullGpu,
  roundTo,
  testGpu,
} from "../gpu.ts";
import {
  compileVariant,
  expectForward,
  prepare,
  referenceForward,
  runForward,
} from "./attention-cases.ts";
import { type Case, interleaved, longHeads } from "./attention-shapes.ts";
import { unitCases } from "./attention-units.ts";

const gpu = await testGpu();

// A workgroup has 64 rows of queries, and tiles of 16 keys here. Heads of 20 and 40 dimensions leave parts of
// units empty, 144 is cut into slices.
const cases: Case[] = [
  { tokens: 1, heads: 1, kvHeads: 1, headSize: 16, starts: [0] },
  { tokens: 5, heads: 6, kvHeads: 2, headSize: 20, starts: [0, 3], arrange: interleaved },
  { tokens: 70, heads: 2, kvHeads: 1, headSize: 40, starts: [0, 33], window: 21 },
  { tokens: 37, heads: 3, kvHeads: 1, headSize: 64, starts: [0, 32], scale: 0.3 },
  { tokens: 20, heads: 2, kvHeads: 2, headSize: 144, starts: [0, 1] },
];

const variants = { f32: "emulated 16 of 8x8x8 f32", f16: "emulated 16 of 16x16x16 f16" };
// Longer heads have more small units than a subgroup has names for.
const variantFor = (dtype: ActivationType, headSize: number) =>
  headSize > 128 ? "emulated 16 of 8x16x16 f32" : variants[dtype];

// Where there is f16, software takes up to a minute to compile a kernel for heads of another size: long heads are
// then left to adapters without, and f32 to one size.
const longest = (dtype: ActivationType) => (dtype === "f16" ? 20 : gpu.hasF16 ? 16 : Infinity);

describe.each(activationTypes(gpu))("by matrices of %s", (dtype) => {
  test.each(cases.filter(({ headSize }) => headSize <= longest(dtype)))(
    "attention agrees with the reference: $tokens tokens, $heads/$kvHeads × $headSize",
    (shape) =>
      expectForward(gpu, shape, dtype, {
        [`attention.${dtype}.forward`]: variantFor(dtype, shape.headSize),
      }),
  );
});

// Of minutes: where asked for, as .ci/run does (CONTRIBUTING.md).
test.runIf(process.env["HONE_LARGE_UNITS"] && gpu.hasF16)(
  "tiles of 32 keys and units of 16 × 16 × 16 agree with the reference, for heads of 64",
  async () => {
    const shape: Case = { tokens: 70, heads: 2, kvHeads: 1, headSize: 64, starts: [0, 33] };
    await expectForward(gpu, shape, "f16", {
      "attention.f16.forward": "emulated 32 of 16x16x16 f16",
    });
  },
  1_800_000,
);

const moving: Case = { tokens: 70, heads: 2, kvHeads: 1, headSize: 16, starts: [0, 3] };
const again: Case = { tokens: 70, heads: 2, kvHeads: 1, headSize: 16, starts: [0, 33] };

test("sums follow a reference that moves", () => expectFollowed(moving, "f32", variants.f32, 1));

test("a second run gives the same bits", () => expectSameBits(again, "f32", variants.f32));

describe.each(["f32", "f16"] as const)("by the units of this adapter, %s", (dtype) => {
  // Heads of 144 are cut into slices.
  const sliced: Case = { tokens: 70, heads: 4, kvHeads: 2, headSize: 144, starts: [0, 1] };
  const all = unitCases(gpu, runsForward, dtype, [...longHeads, sliced]);
  const short = unitCases(gpu, runsForward, dtype, [moving]);

  test.skipIf(all.hasNone).each(all.cases)(
    "$variant agrees with the reference: $tokens tokens, $heads/$kvHeads × $headSize",
    ({ variant, ...shape }) =>
      expectForward(gpu, shape, dtype, { [`attention.${dtype}.forward`]: variant }),
  );

  // Units add in their own way, and GPUs divide to 2.5 units in the last place where software is exact.
  test.skipIf(short.hasNone).each(short.cases)(
    "$variant: sums follow a reference that moves",
    ({ variant }) => expectFollowed(moving, dtype, variant, 4),
  );

  test.skipIf(short.hasNone).each(short.cases)(
    "$variant: a second run gives the same bits",
    ({ variant }) => expectSameBits(again, dtype, variant),
  );
});

/** Runs a case whose every tile has larger scores than the last, and compares all of it. */
async function expectFollowed(
  shape: Case,
  dtype: ActivationType,
  variant: string,
  factor: number,
): Promise<void> {
  const prepared = prepare(shape, dtype);
  const { data, layout } = prepared;
  // Scores grow along the row, to about 1,000.
  const grown = data.qkv.map((value, i) => value * (1 + Math.floor(i / layout.stride) / 2));
  data.qkv.set(roundTo(dtype, grown));
  const choices = { [`attention.${dtype}.forward`]: variant };
  const { o, lse } = await runForward(gpu, prepared, dtype, shape, choices);
  const expected = referenceForward(prepared);
  // Scores are exact to 2^-22 · √16 · 35² / 4 ≈ 2.9e-4, which is the relative error of a weight.
  const error = factor * 2.9e-4;
  expect(largestDifference(lse, expected.lse)).toBeLessThan(error);
  // f16 rounds weights and results, of up to 35.
  const rounding = dtype === "f16" ? 2 * 35 * 2 ** -11 : 0;
  expect(largestDifference(o, expected.o)).toBeLessThan(error * 35 * 4 + rounding);
}

async function expectSameBits(shape: Case, dtype: ActivationType, variant: string): Promise<void> {
  const prepared = prepare(shape, dtype);
  const choices = { [`attention.${dtype}.forward`]: variant };
  const first = await runForward(gpu, prepared, dtype, shape, choices);
  expect(await runForward(gpu, prepared, dtype, shape, choices)).toEqual(first);
}

// Backward, heads of 80 and 128 take more than the 16 KiB of workgroup memory that are there.
test.each([
  ["matrix 16 of 16x16x16 f16", 128, "attention-backward"],
  ["matrix 16 of 16x16x16 f16", 80, "attention-backward"],
  ["matrix 16 of 8x16x16 f16", 64, "attention-matrix-backward-turned-sized"],
  ["matrix 16 of 8x8x8 f32", 32, "attention-matrix-backward-turned-sized"],
])("%s compiles with subgroup matrices, for heads of %i", async (variant, headSize, backward) => {
  const [, rows, columns, depth, type = ""] = /(\d+)x(\d+)x(\d+) (f\d+)/.exec(variant) ?? [];
  const unit = { M: Number(rows), N: Number(columns), K: Number(depth) };
  const config = { componentType: type, resultComponentType: "f32", ...unit };
  const counting = await nullGpu({ matrixConfigs: [config] });
  const turns = backward.includes("turned") && { rotary: headSize };
  const shape: Case = { tokens: 5, heads: 4, kvHeads: 2, headSize, starts: [0], ...turns };
  const dtype = type === "f16" ? "f16" : "f32";
  const names = await compileVariant(counting, shape, dtype, variant);
  expect(names.map((name) => name.replace(/ .*/, ""))).toEqual([
    "attention-matrix-sized.forward",
    `${backward}.backward_queries`,
    `${backward}.backward_keys`,
  ]);
});
