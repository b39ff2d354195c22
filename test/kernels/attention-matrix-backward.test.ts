import { describe, expect, test } from "vitest";
import { runsBackward } from "../../src/kernels/attention-matrix-backward.ts";
import { type ActivationType, activationTypes, testGpu } from "../gpu.ts";
import { expectBackward, prepare, runBackward } from "./attention-cases.ts";
import { type Case, interleaved, longHeads } from "./attention-shapes.ts";
import { unitCases } from "./attention-units.ts";

const gpu = await testGpu();

// A workgroup has 32 rows of queries, and tiles of 16 others here. Heads of 20 and 40 dimensions leave parts of
// units empty.
const cases: Case[] = [
  { tokens: 1, heads: 1, kvHeads: 1, headSize: 16, starts: [0] },
  { tokens: 5, heads: 6, kvHeads: 2, headSize: 20, starts: [0, 3], arrange: interleaved },
  { tokens: 70, heads: 4, kvHeads: 2, headSize: 20, starts: [0, 33], window: 21 },
  { tokens: 70, heads: 2, kvHeads: 1, headSize: 40, starts: [0, 33], window: 21, rotary: 32 },
  { tokens: 37, heads: 3, kvHeads: 1, headSize: 64, starts: [0, 32], scale: 0.3, rotary: 64 },
];

const variants = { f32: "emulated 16 of 8x8x8 f32", f16: "emulated 16 of 16x16x16 f16" };

// Where there is f16, software takes up to a minute to compile a kernel for heads of another size: long heads are
// then left to adapters without, and f32 to one size.
const longest = (dtype: ActivationType) => (dtype === "f16" ? 20 : gpu.hasF16 ? 16 : Infinity);

describe.each(activationTypes(gpu))("by matrices of %s", (dtype) => {
  test.each(cases.filter(({ headSize }) => headSize <= longest(dtype)))(
    "the gradient agrees with the reference: $tokens tokens, $heads/$kvHeads × $headSize",
    (shape) =>
      expectBackward(gpu, shape, dtype, { [`attention.${dtype}.backward`]: variants[dtype] }),
  );
});

// Of minutes: where asked for, as .ci/run does (CONTRIBUTING.md).
test.runIf(process.env["HONE_LARGE_UNITS"] && gpu.hasF16)(
  "tiles of 32 and units of 16 × 16 × 16 agree with the reference, for heads of 64",
  async () => {
    const shape: Case = {
      tokens: 70,
      heads: 2,
      kvHeads: 1,
      headSize: 64,
      starts: [0, 33],
      rotary: 64,
    };
    await expectBackward(gpu, shape, "f16", {
      "attention.f16.backward": "emulated 32 of 16x16x16 f16",
    });
  },
  1_800_000,
);

const again: Case = { tokens: 70, heads: 2, kvHeads: 1, headSize: 16, starts: [0, 33] };

test("a second run gives the same bits", () => expectSameBits(again, "f32", variants.f32));

describe.each(["f32", "f16"] as const)("by the units of this adapter, %s", (dtype) => {
  const all = unitCases(gpu, runsBackward, dtype, longHeads);
  const short = unitCases(gpu, runsBackward, dtype, [again]);

  test.skipIf(all.hasNone).each(all.cases)(
    "the gradient agrees with the reference: $variant, $tokens tokens, $heads/$kvHeads × $headSize",
    ({ variant, ...shape }) =>
      expectBackward(gpu, shape, dtype, { [`attention.${dtype}.backward`]: variant }),
  );

  test.skipIf(short.hasNone).each(short.cases)(
    "a second run gives the same bits: $variant",
    ({ variant }) => expectSameBits(again, dtype, variant),
  );
});

async function expectSameBits(shape: Case, dtype: ActivationType, variant: string): Promise<void> {
  const choices = { [`attention.${dtype}.backward`]: variant };
  const prepared = prepare(shape, dtype);
  const first = await runBackward(gpu, prepared, dtype, shape, choices);
  expect(await runBackward(gpu, prepared, dtype, shape, choices)).toEqual(first);
}
