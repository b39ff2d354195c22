import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { decodeBf16, decodeF16, encodeF16 } from "../../src/formats/float.ts";
import type { Gpu } from "../../src/gpu/device.ts";
import { read, write } from "../../src/gpu/tensor.ts";
import { dequantize, DEQUANTIZE_TUNABLE } from "../../src/kernels/dequantize.ts";
import type { Nf4Weight } from "../../src/kernels/weight.ts";
import {
  activationTypes,
  poisoned,
  randomF32,
  roundTo,
  runOnce,
  testGpu,
  uploadF32,
  uploadU32,
} from "../gpu.ts";
import { dequantize as reference } from "../reference/nf4.ts";

const gpu = await testGpu();
const baseline = await testGpu({ baseline: true });

const SIZES = {
  hidden: 128,
  intermediate: 192,
  heads: 4,
  kvHeads: 2,
  headSize: 32,
  rank: 8,
  tokens: 32,
  act: gpu.hasF16 ? "f16" : "f32",
} as const;

// Outputs and inputs: whole blocks and ragged ones, whole words and halves, one and many workgroups.
const SHAPES = [
  [1, 4],
  [1, 8],
  [3, 4],
  [1, 64],
  [1, 68],
  [5, 12],
  [7, 64],
  [2, 100],
  [9, 20],
  [16, 32],
  [16, 36],
  [33, 16],
  [1, 516],
  [4, 128],
  [3, 172],
  [31, 44],
  [64, 64],
  [65, 60],
  [48, 1024],
  [127, 132],
] as const;

describe.each([
  { name: "this adapter", on: gpu },
  { name: "a device with nothing but the defaults", on: baseline },
])("on $name", ({ on }) => {
  test.each(SHAPES)(
    "NF4 of %i × %i becomes the reference's weights, bit for bit",
    async (...size) => {
      const [outputs, inputs] = size;
      const { weight, want } = randomNf4(on, outputs, inputs);
      const out = poisoned(on, "out", [outputs, inputs]);
      await runOnce(on, (recorder) => dequantize(recorder, { weight, out: out.tensor }));
      expect(await out.read()).toEqual(want);
    },
  );
});

test.runIf(gpu.hasF16)("NF4 is rounded to f16 once, to the nearest", async () => {
  for (const [outputs, inputs] of [
    [3, 4],
    [31, 44],
    [48, 1024],
  ] as const) {
    const { weight, want } = randomNf4(gpu, outputs, inputs);
    const out = gpu.allocate("out", "f16", [outputs, inputs]);
    await runOnce(gpu, (recorder) => dequantize(recorder, { weight, out }));
    const got = new Uint16Array(await read(gpu, out), 0, outputs * inputs);
    expect(got).toEqual(encodeF16(want));
  }
});

// Whole and ragged eights, more than a workgroup's share of them, and a part of one.
test.each(["select x4", "table x4"])("shared out as %s, the bits are the same", async (way) => {
  gpu.choices = { [DEQUANTIZE_TUNABLE.slot]: way };
  expect(DEQUANTIZE_TUNABLE.candidates(gpu, SIZES)).toContain(way);
  for (const size of [
    [1, 4],
    [5, 12],
    [48, 1024],
    [127, 132],
  ] as const) {
    const [outputs, inputs] = size;
    const { weight, want } = randomNf4(gpu, outputs, inputs);
    for (const dtype of activationTypes(gpu)) {
      const out = poisoned(gpu, "out", size, dtype);
      await runOnce(gpu, (recorder) => dequantize(recorder, { weight, out: out.tensor }));
      expect(await out.read()).toEqual(roundTo(dtype, want));
    }
  }
  gpu.choices = {};
});

test("the trial makes the same numbers in every way", async () => {
  const trial = DEQUANTIZE_TUNABLE.trial(gpu, SIZES);
  const [result] = trial.results;
  const made = new Set<string>();
  for (const way of ["select", "table x4"]) {
    gpu.choices = { [DEQUANTIZE_TUNABLE.slot]: way };
    write(gpu, result!, new Uint8Array(result!.bytes).fill(0xff));
    await runOnce(gpu, (recorder) => trial.record(recorder));
    made.add(
      createHash("sha256")
        .update(new Uint8Array(await read(gpu, result!)))
        .digest("hex"),
    );
  }
  gpu.choices = {};
  expect(made.size).toBe(1);
  for (const tensor of trial.tensors) gpu.free(tensor);
});

test("a part of a weight is dequantized from any block, and nothing past its count", async () => {
  const { weight, want } = randomNf4(gpu, 7, 172);
  for (const { start, count } of [
    { start: 0, count: 4 },
    { start: 64, count: 12 },
    { start: 640, count: 560 },
    { start: 1152, count: 52 },
  ]) {
    const out = poisoned(gpu, "out", [count]);
    await runOnce(gpu, (recorder) =>
      dequantize(recorder, { weight, out: out.tensor, start, count }),
    );
    expect(await out.read()).toEqual(want.subarray(start, start + count));
  }
});

test.each([
  { kind: "packed-f16", decode: decodeF16, infinity: 0x7c00 },
  { kind: "packed-bf16", decode: decodeBf16, infinity: 0x7f80 },
] as const)("every finite number of a $kind weight is widened exactly", async (packing) => {
  const { kind, decode, infinity } = packing;
  // Both signs of all that is below infinity, 15 × 4096 or more numbers; subnormal f16 among them.
  // A subnormal bf16 is a subnormal f32, which a GPU may flush: those below 2⁻¹²⁶ are left out.
  const first = kind === "packed-f16" ? 0 : 0x80;
  const magnitudes = Array.from({ length: infinity - first }, (_, i) => first + i);
  const halves = Uint16Array.from([...magnitudes, ...magnitudes.map((bits) => bits | 0x8000)]);
  const words = new Uint32Array(halves.buffer);
  const tensor = uploadU32(gpu, "weight", [words.length], words);
  const out = poisoned(gpu, "out", [halves.length]);
  await runOnce(gpu, (recorder) =>
    dequantize(recorder, {
      weight: { tensor, shape: [1, halves.length], kind },
      out: out.tensor,
    }),
  );
  expect(await out.read()).toEqual(decode(halves));
});

test("an f32 weight is copied", async () => {
  const data = randomF32(7 * 12, 1);
  const tensor = uploadF32(gpu, "weight", [7, 12], data);
  const out = poisoned(gpu, "out", [20]);
  const weight = { tensor, shape: [7, 12], kind: "native" } as const;
  await runOnce(gpu, (recorder) => dequantize(recorder, { weight, out: out.tensor, start: 64 }));
  expect(await out.read()).toEqual(data.slice(64));
});

test("a weight of more than 65,535 workgroups is dequantized to its end", async () => {
  const count = 65_535 * 512 + 4 * 1024;
  const dtype = gpu.hasF16 ? "f16" : "f32"; // llvmpipe binds 128 MiB at most, and has f16
  // One block's codes, over and over; the scale tells the blocks apart.
  const word = 0x5aa50ff0;
  const codes = uploadU32(gpu, "codes", [count / 8], new Uint32Array(count / 8).fill(word));
  const scales = Float32Array.from({ length: count / 64 }, (_, block) => scaleOf(block));
  const absmax = uploadF32(gpu, "absmax", [count / 64], scales);
  const out = gpu.allocate("out", dtype, [count]);
  await runOnce(gpu, (recorder) => {
    dequantize(recorder, { weight: { codes, absmax, shape: [count / 4096, 4096] }, out });
  });
  const bytes = new Uint8Array(Uint32Array.of(word).buffer);
  const blockBytes = dtype === "f16" ? 128 : 256;
  // The two rows of the folded grid meet in the middle; the last block ends the second.
  for (const block of [0, count / 128, count / 64 - 1].map(Math.floor)) {
    const got = await read(gpu, out, block * blockBytes, blockBytes / 8);
    const want = reference(bytes, Float32Array.of(scaleOf(block)));
    const wantBytes = (dtype === "f16" ? encodeF16(want) : want).buffer;
    expect(new Uint8Array(got)).toEqual(new Uint8Array(wantBytes));
  }
  for (const tensor of [codes, absmax, out]) gpu.free(tensor);
});

test("an output too small for the weight is refused by name", async () => {
  const { weight } = randomNf4(gpu, 4, 32);
  const out = gpu.allocate("scratch", "f32", [100]);
  await expect(runOnce(gpu, (recorder) => dequantize(recorder, { weight, out }))).rejects.toThrow(
    "128 from 0 of codes, 128 weights, into scratch",
  );
});

function scaleOf(block: number): number {
  return 1 + (block % 1999);
}

/** Random codes and scales, with every code present from 16 weights on. */
function randomNf4(on: Gpu, outputs: number, inputs: number) {
  const count = outputs * inputs;
  const bytes = new Uint8Array(Math.ceil(count / 8) * 4);
  randomF32(bytes.length, count).forEach((value, i) => {
    bytes[i] = (value + 1) * 128;
  });
  const absmax = randomF32(Math.ceil(count / 64), count + 1).map(Math.abs);
  const codes = on.allocate("codes", "u32", [bytes.length / 4]);
  write(on, codes, bytes);
  const weight: Nf4Weight = {
    codes,
    absmax: uploadF32(on, "absmax", [absmax.length], absmax),
    shape: [outputs, inputs],
  };
  return { weight, want: reference(bytes, absmax, count) };
}
