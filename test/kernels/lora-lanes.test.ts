import { expect, test } from "vitest";
import { decodeF16, encodeF16 } from "../../src/formats/float.ts";
import { LORA_SLOT, LORA_TUNABLE } from "../../src/kernels/lora.ts";
import { nullGpu, runOnce, testGpu } from "../gpu.ts";
import {
  expectClose,
  expectDifferences,
  randomData,
  referenceOf,
  runAll,
  type Size,
} from "./lora-cases.ts";

const gpu = await testGpu();
const baseline = await testGpu({ baseline: true });

/** Sizes for the variants that deal the inner dimension out: few, since every one compiles anew. */
const LANES_SIZES: readonly (Size & { variant: string })[] = [
  // Less than the lanes; few rows, whose tile all threads share.
  { variant: "lanes 16", rows: 3, inputs: 20, rank: 4, segmentEnds: [5], dropout: 0.5 },
  // More than one block of ranks, and as many segments as there can be.
  {
    variant: "lanes 32",
    rows: 70,
    inputs: 300,
    rank: 20,
    segmentEnds: [8, 12, 16, 30],
    dropout: 0.25,
  },
];
test.each(LANES_SIZES)(
  "$variant agrees: $rows rows, $inputs inputs, rank $rank, segments $segmentEnds, dropout $dropout",
  async ({ variant, ...size }) => {
    const data = randomData(size);
    const got = await runAll(baseline, size, data, { variant });
    expectClose(got, referenceOf(size, data), size);
    expect(await runAll(baseline, size, data, { variant })).toEqual(got); // bit for bit
  },
);

test("gradients are those that finite differences find", () =>
  expectDifferences(baseline, "lanes 16"));

test("lanes take chunks of rows and a piece of dy", async () => {
  const { variant, ...size } = LANES_SIZES[1]!;
  const data = randomData(size);
  const got = await runAll(baseline, size, data, {
    chunks: [33, 37],
    columns: 37,
    column: 3,
    variant,
  });
  expectClose(got, referenceOf(size, data), size);
});

test.runIf(gpu.hasF16)("lanes read f16 activations as the numbers they hold", async () => {
  const { variant, ...size } = LANES_SIZES[0]!;
  const data = randomData(size);
  data.x = decodeF16(encodeF16(data.x));
  data.dy = decodeF16(encodeF16(data.dy));
  const got = await runAll(gpu, size, data, { dtype: "f16", variant });
  expectClose(got, referenceOf(size, data), size);
});

test("what is tried on a GPU compiles in every variant, and is whole", async () => {
  const nothing = await nullGpu();
  const sizes = { hidden: 256, intermediate: 512, heads: 4, kvHeads: 2, headSize: 64 };
  for (const rank of [16, 8, 4]) {
    const trial = LORA_TUNABLE.trial(nothing, { ...sizes, rank, tokens: 33, act: "f16" });
    const variants = LORA_TUNABLE.candidates(nothing, { ...sizes, rank, tokens: 33, act: "f16" });
    expect(variants).toEqual(["lanes 32", "lanes 16", "lanes 64", "direct"]);
    for (const variant of variants) {
      nothing.choices = { [LORA_SLOT]: variant };
      await runOnce(nothing, (recorder) => trial.record(recorder));
    }
    expect(trial.results.map(({ shape }) => shape.join(" × "))).toEqual([
      `33 × ${3 * rank}`,
      `33 × ${3 * rank}`,
      `${3 * rank} × 256`,
      `512 × ${rank}`,
    ]);
  }
  const none = { ...sizes, rank: 0, tokens: 33, act: "f16" } as const;
  expect(LORA_TUNABLE.candidates(nothing, none)).toEqual(["direct"]);
});
