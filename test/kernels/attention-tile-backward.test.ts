import { describe, expect, test } from "vitest";
import { activationTypes, testGpu } from "../gpu.ts";
import { expectBackward, prepare, runBackward } from "./attention-cases.ts";
import { type Case, interleaved } from "./attention-shapes.ts";

const gpu = await testGpu();

// A tile is 32 rows of queries (all of one token, with 32 heads to a key head) by 32 keys; heads past 128
// dimensions are cut into slices.
const cases: Case[] = [
  { tokens: 1, heads: 1, kvHeads: 1, headSize: 16, starts: [0] },
  { tokens: 5, heads: 6, kvHeads: 2, headSize: 20, starts: [0, 3], arrange: interleaved },
  { tokens: 33, heads: 3, kvHeads: 1, headSize: 64, starts: [0, 32], rotary: 64 },
  { tokens: 97, heads: 2, kvHeads: 2, headSize: 64, starts: [0, 33], window: 40, rotary: 32 },
  { tokens: 70, heads: 2, kvHeads: 1, headSize: 80, starts: [0], arrange: interleaved, rotary: 80 },
  { tokens: 66, heads: 2, kvHeads: 2, headSize: 128, starts: [0, 1, 64], scale: 0.3, rotary: 128 },
  { tokens: 40, heads: 2, kvHeads: 1, headSize: 144, starts: [0], window: 33, rotary: 144 },
  { tokens: 21, heads: 4, kvHeads: 1, headSize: 256, starts: [0, 9], rotary: 256 },
  { tokens: 9, heads: 2, kvHeads: 1, headSize: 64, starts: [0], rotary: 20 },
];

describe.each(activationTypes(gpu))("in tiles of %s", (dtype) => {
  const variants = dtype === "f32" ? ["tile 8"] : ["tile 16", "tile 8 f32"];
  for (const variant of variants) {
    const choices = { [`attention.${dtype}.backward`]: variant };
    test.each(cases)(
      `${variant} agrees with the reference: $tokens tokens, $heads/$kvHeads × $headSize`,
      (shape) => expectBackward(gpu, shape, dtype, choices),
    );
  }
});

const choices = { "attention.f32.backward": "tile 8" };

test("keys and queries outside the window are not read", async () => {
  // Rows 64 to 127 meet, in tiles of 32 rows, none below 59 - 5 nor from 160 on.
  const shape: Case = { tokens: 192, heads: 1, kvHeads: 1, headSize: 16, starts: [0], window: 6 };
  const prepared = prepare(shape, "f32");
  const { data, layout } = prepared;
  const clean = await runBackward(gpu, prepared, "f32", shape, choices);
  const spoilt = { ...data, qkv: Float32Array.from(data.qkv), dO: Float32Array.from(data.dO) };
  spoilt.qkv.fill(Number.NaN, 0, 54 * layout.stride).fill(Number.NaN, 160 * layout.stride);
  spoilt.dO.fill(Number.NaN, 0, 54 * 16).fill(Number.NaN, 160 * 16);
  const dqkv = await runBackward(gpu, { ...prepared, data: spoilt }, "f32", shape, choices);
  const middle = (values: Float32Array) => values.slice(64 * layout.stride, 128 * layout.stride);
  expect(middle(dqkv)).toEqual(middle(clean));
});

test("large scores do not overflow", async () => {
  const shape: Case = { tokens: 70, heads: 2, kvHeads: 1, headSize: 16, starts: [0, 3] };
  const prepared = prepare(shape, "f32");
  prepared.data.qkv.forEach((value, i) => (prepared.data.qkv[i] = value * 32));
  const dqkv = await runBackward(gpu, prepared, "f32", {}, choices);
  expect(dqkv.every(Number.isFinite)).toBe(true);
});

test("a second run gives the same bits", async () => {
  const prepared = prepare(cases[3]!, "f32");
  const first = await runBackward(gpu, prepared, "f32", cases[3], choices);
  expect(await runBackward(gpu, prepared, "f32", cases[3], choices)).toEqual(first);
});
