import { expect, test } from "vitest";
import { dequantize } from "../../src/kernels/dequantize.ts";
import { dequantizePair } from "../../src/kernels/dequantize-pair.ts";
import {
  activationTypes,
  poisoned,
  randomF32,
  runOnce,
  testGpu,
  uploadF32,
  uploadU32,
} from "../gpu.ts";

const gpu = await testGpu();

function randomNf4(count: number, seed: number) {
  const words = Uint32Array.from(randomF32(count / 8, seed), (value) => (value + 1) * 2 ** 31);
  const scales = randomF32(Math.ceil(count / 64), seed + 1);
  return {
    codes: uploadU32(gpu, "codes", [words.length], words),
    absmax: uploadF32(gpu, "absmax", [scales.length], scales),
    shape: [1, count] as const,
  };
}

test.each(activationTypes(gpu))(
  "two weights at once, in %s, are what each is alone",
  async (dtype) => {
    // One workgroup is 512 weights: less than one, just one, one more word, and several.
    for (const [first, second] of [
      [8, 512],
      [520, 72],
      [512, 4096],
    ] as const) {
      const make = (count: number, seed: number) => ({
        weight: randomNf4(count, seed),
        out: poisoned(gpu, "out", [1, count], dtype),
        alone: poisoned(gpu, "alone", [1, count], dtype),
      });
      const [a, b] = [make(first, 1), make(second, 5)];
      await runOnce(gpu, (recorder) => {
        dequantizePair(
          recorder,
          { weight: a.weight, out: a.out.tensor },
          { weight: b.weight, out: b.out.tensor },
        );
        for (const { weight, alone } of [a, b]) {
          dequantize(recorder, { weight, out: alone.tensor });
        }
      });
      for (const { out, alone } of [a, b]) expect(await out.read()).toEqual(await alone.read());
    }
  },
);

test("weights that do not fit are refused by name", async () => {
  const weight = randomNf4(64, 1);
  const short = gpu.allocate("short", "f32", [32]);
  const out = gpu.allocate("out", "f32", [64]);
  await expect(
    runOnce(gpu, (recorder) => dequantizePair(recorder, { weight, out }, { weight, out: short })),
  ).rejects.toThrow("dequantizePair: 64 weights of codes into f32 short");
});
