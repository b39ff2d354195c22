import { describe, expect, test } from "vitest";
import type { Gpu } from "../../src/gpu/device.ts";
import { swigluBackward, swigluForward } from "../../src/kernels/swiglu.ts";
import {
  type ActivationType,
  activationTypes,
  guarded,
  largestDifference,
  poisoned,
  randomF32,
  roundTo,
  runOnce,
  testGpu,
  uploadActivation,
} from "../gpu.ts";
import { differenceGradient, dot } from "../reference/finite-differences.ts";
import * as reference from "../reference/swiglu.ts";

const devices = {
  "all features": await testGpu(),
  baseline: await testGpu({ baseline: true }),
};

const cases = [
  { rows: 1, size: 4 }, // one thread
  { rows: 1, size: 8 },
  { rows: 1, size: 252 },
  { rows: 1, size: 256 }, // one whole workgroup
  { rows: 1, size: 260 }, // and one thread more
  { rows: 1, size: 5632 },
  { rows: 2, size: 4 },
  { rows: 2, size: 20 },
  { rows: 3, size: 12 },
  { rows: 3, size: 344 },
  { rows: 5, size: 44 },
  { rows: 7, size: 36 },
  { rows: 11, size: 128 },
  { rows: 16, size: 16 },
  { rows: 17, size: 172 },
  { rows: 31, size: 8 },
  { rows: 33, size: 100 },
  { rows: 63, size: 4 },
  { rows: 65, size: 68 },
  { rows: 130, size: 28 },
];

for (const [name, gpu] of Object.entries(devices)) {
  describe.each(activationTypes(gpu))(`on ${name}, %s`, (dtype) => {
    test.each(cases)(
      "swiglu and its gradient agree with the reference: $rows × $size",
      async ({ rows, size }) => {
        const data = prepare(rows, size, dtype, 6);
        const { h, dgu, inPlace } = await run(gpu, data, dtype);
        const expectedH = reference.swiglu(data.gu, { rows, size });
        const expectedDgu = reference.swigluBackward(data.gu, data.dh, { rows, size });
        // Elementwise: exp is good to 3 + 2 · 6 units in the last place (WGSL), and a handful of
        // roundings follow; |gate|, |up| ≤ 6 give |h| ≤ 36, |dgu| ≤ 7.
        const ulp = dtype === "f32" ? 2 ** -22 * 16 : 2 ** -10;
        expect(largestDifference(h, expectedH)).toBeLessThan(ulp * 36);
        expect(largestDifference(dgu, expectedDgu)).toBeLessThan(ulp * 7);
        expect(inPlace).toEqual(dgu);
      },
    );
  });
}

test("the gradient is that of finite differences", async () => {
  const shape = { rows: 2, size: 4 };
  const data = prepare(shape.rows, shape.size, "f32", 2);
  const { dgu } = await run(devices.baseline, data, "f32");
  const expected = differenceGradient(
    (gu) => dot(reference.swiglu(gu, shape), data.dh),
    Float64Array.from(data.gu),
  );
  // The differences are good to 1e-9; what remains is f32.
  expect(largestDifference(dgu, expected)).toBeLessThan(2 ** -19);
});

test("a gate of ±1,000 is passed on or shut, and nothing overflows", async () => {
  const data = prepare(1, 4, "f32", 1);
  data.gu.set([1000, -1000, 88.8, -88.8, 1, 1, 1, 1]);
  data.dh.fill(1);
  const { h, dgu } = await run(devices.baseline, data, "f32");
  // silu(−88.8) is −2.4e-37: a normal number to be sure, but adapters may flush what leads to it.
  expect(largestDifference(h, [1000, 0, 88.8, 0])).toBeLessThan(1e-4);
  expect(largestDifference(dgu, [1, 0, 1, 0, 1000, 0, 88.8, 0])).toBeLessThan(1e-4);
});

interface Data {
  rows: number;
  size: number;
  gu: Float32Array;
  dh: Float32Array;
}

function prepare(rows: number, size: number, dtype: ActivationType, reach: number): Data {
  return {
    rows,
    size,
    gu: roundTo(
      dtype,
      randomF32(rows * 2 * size, rows + size).map((v) => v * reach),
    ),
    dh: roundTo(dtype, randomF32(rows * size, 2)),
  };
}

/** Forward, backward, and backward once more over its own input. */
async function run(gpu: Gpu, { rows, size, ...data }: Data, dtype: ActivationType) {
  const gu = uploadActivation(gpu, "gu", [rows, 2 * size], data.gu, dtype);
  const dh = uploadActivation(gpu, "dh", [rows, size], data.dh, dtype);
  const h = poisoned(gpu, "h", [rows, size], dtype);
  const dgu = poisoned(gpu, "dgu", [rows, 2 * size], dtype);
  const inPlace = guarded(gpu, "inPlace", [rows, 2 * size], data.gu, dtype);
  await runOnce(gpu, (recorder) => {
    swigluForward(recorder, { gu, h: h.tensor });
    swigluBackward(recorder, { gu, dh, dgu: dgu.tensor });
    swigluBackward(recorder, { gu: inPlace.tensor, dh, dgu: inPlace.tensor });
  });
  return { h: await h.read(), dgu: await dgu.read(), inPlace: await inPlace.read() };
}
