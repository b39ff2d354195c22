import { describe, expect, test } from "vitest";
import { activationTypes, largestDifference, testGpu } from "../gpu.ts";
import { expectForward, prepare, referenceForward, runForward } from "./attention-cases.ts";
import { type Case, interleaved } from "./attention-shapes.ts";

const gpu = await testGpu();

// A tile is 64 rows of queries (two tokens of a group of 32 heads, or 64 of one) by 32 keys.
const cases: Case[] = [
  { tokens: 1, heads: 1, kvHeads: 1, headSize: 16, starts: [0] },
  { tokens: 5, heads: 6, kvHeads: 2, headSize: 20, starts: [0, 3], arrange: interleaved },
  { tokens: 33, heads: 3, kvHeads: 1, headSize: 64, starts: [0, 32] },
  { tokens: 97, heads: 2, kvHeads: 2, headSize: 64, starts: [0, 33], window: 40 },
  { tokens: 130, heads: 2, kvHeads: 1, headSize: 80, starts: [0], arrange: interleaved },
  { tokens: 66, heads: 2, kvHeads: 2, headSize: 128, starts: [0, 1, 64], scale: 0.3 },
  { tokens: 70, heads: 2, kvHeads: 1, headSize: 144, starts: [0], window: 33 },
  { tokens: 21, heads: 4, kvHeads: 1, headSize: 256, starts: [0, 9] },
];

describe.each(activationTypes(gpu))("in tiles of %s", (dtype) => {
  const variants = dtype === "f32" ? ["tile 16"] : ["tile 32", "tile 16 f32"];
  for (const variant of variants) {
    const choices = { [`attention.${dtype}.forward`]: variant };
    test.each(cases)(
      `${variant} agrees with the reference: $tokens tokens, $heads/$kvHeads × $headSize`,
      (shape) => expectForward(gpu, shape, dtype, choices),
    );
  }
});

const choices = { "attention.f32.forward": "tile 16" };

test("keys outside the window are not read", async () => {
  // Rows 64 to 127 see keys 59 … 127, in tiles of 32 from key 59 on: none below 59, none past 154.
  const shape: Case = { tokens: 192, heads: 1, kvHeads: 1, headSize: 16, starts: [0], window: 6 };
  const prepared = prepare(shape, "f32");
  const { data, layout } = prepared;
  const clean = await runForward(gpu, prepared, "f32", shape, choices);
  const spoilt = { ...data, qkv: Float32Array.from(data.qkv) };
  spoilt.qkv.fill(Number.NaN, 0, 59 * layout.stride).fill(Number.NaN, 155 * layout.stride);
  const { o } = await runForward(gpu, { data: spoilt, layout }, "f32", shape, choices);
  expect(o.slice(64 * 16, 128 * 16)).toEqual(clean.o.slice(64 * 16, 128 * 16));
});

test("large scores neither overflow nor lose the largest", async () => {
  const shape: Case = { tokens: 70, heads: 2, kvHeads: 1, headSize: 16, starts: [0, 3] };
  const prepared = prepare(shape, "f32");
  prepared.data.qkv.forEach((value, i) => (prepared.data.qkv[i] = value * 32));
  const { o, lse } = await runForward(gpu, prepared, "f32", shape, choices);
  const expected = referenceForward(prepared);
  // Scores are exact to 2^-22 · √16 · 32² / 4 ≈ 2.4e-4, which is the relative error of a weight.
  expect(largestDifference(lse, expected.lse)).toBeLessThan(2.4e-4);
  expect(largestDifference(o, expected.o)).toBeLessThan(2.4e-4 * 32 * 4);
});

test("a second run gives the same bits", async () => {
  const prepared = prepare(cases[4]!, "f32");
  const first = await runForward(gpu, prepared, "f32", {}, choices);
  expect(await runForward(gpu, prepared, "f32", {}, choices)).toEqual(first);
});
