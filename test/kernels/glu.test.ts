import { describe, expect, test } from "vitest";
import type { Gpu } from "../../src/gpu/device.ts";
import { type GluActivation, gluBackward, gluForward } from "../../src/kernels/glu.ts";
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
import * as reference from "../reference/glu.ts";

const devices = {
  "all features": await testGpu(),
  baseline: await testGpu({ baseline: true }),
};

const activations = ["silu", "gelu_tanh"] as const;

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
    describe.each(activations)("with %s", (activation) => {
      test.each(cases)(
        "glu and its gradient agree with the reference: $rows × $size",
        async ({ rows, size }) => {
          const data = prepare(rows, size, dtype, 6);
          const { h, dgu, hAgain } = await run(gpu, data, dtype, activation);
          const shape = { rows, size, activation };
          const expectedH = reference.glu(data.gu, shape);
          const expectedDgu = reference.gluBackward(data.gu, data.dh, shape);
          // Elementwise: exp is good to 3 + 2 · 6 units in the last place (WGSL), and a handful of
          // roundings follow; |gate|, |up| ≤ 6 give |h| ≤ 36, |dgu| ≤ 7. GELU's exp takes more than 6 only
          // where it is below 2e-3 itself.
          const ulp = dtype === "f32" ? 2 ** -22 * 16 : 2 ** -10;
          expect(largestDifference(h, expectedH)).toBeLessThan(ulp * 36);
          expect(largestDifference(dgu, expectedDgu)).toBeLessThan(ulp * 7);
          expect(largestDifference(hAgain, expectedH)).toBeLessThan(ulp * 36);
        },
      );
    });
  });
}

describe.each(activations)("with %s", (activation) => {
  test("the gradient is that of finite differences", async () => {
    const shape = { rows: 2, size: 4, activation };
    const data = prepare(shape.rows, shape.size, "f32", 2);
    const { dgu } = await run(devices.baseline, data, "f32", activation);
    const expected = differenceGradient(
      (gu) => dot(reference.glu(gu, shape), data.dh),
      Float64Array.from(data.gu),
    );
    // The differences are good to 1e-9; what remains is f32.
    expect(largestDifference(dgu, expected)).toBeLessThan(2 ** -19);
  });

  test("a gate of ±1,000 is passed on or shut, and nothing overflows", async () => {
    const data = prepare(1, 4, "f32", 1);
    data.gu.set([1000, -1000, 88.8, -88.8, 1, 1, 1, 1]);
    data.dh.fill(1);
    const { h, dgu } = await run(devices.baseline, data, "f32", activation);
    // silu(−88.8) is −2.4e-37: a normal number to be sure, but adapters may flush what leads to it.
    expect(largestDifference(h, [1000, 0, 88.8, 0])).toBeLessThan(1e-4);
    expect(largestDifference(dgu, [1, 0, 1, 0, 1000, 0, 88.8, 0])).toBeLessThan(1e-4);
  });

  test("a gate whose cube is past every f32 is passed on or shut", async () => {
    const data = prepare(1, 4, "f32", 1);
    data.gu.set([1e30, -1e30, 1e15, -1e15, 1, 1, 1, 1]);
    data.dh.fill(1);
    const { h, dgu } = await run(devices.baseline, data, "f32", activation);
    // Open, the gate passes on to the last bit; shut, it keeps at most e⁻⁸⁷ = 1.6e-38 of itself.
    expect(h[0]! / 1e30).toBeCloseTo(1, 6);
    expect(h[2]! / 1e15).toBeCloseTo(1, 6);
    expect(largestDifference([h[1]!, h[3]!], [0, 0])).toBeLessThan(1e-7);
    expect(largestDifference(dgu.slice(0, 4), [1, 0, 1, 0])).toBeLessThan(1e-4);
    expect(dgu.every(Number.isFinite)).toBe(true);
  });

  test("a second run gives the same bits", async () => {
    const data = prepare(13, 260, "f32", 6);
    const first = await run(devices["all features"], data, "f32", activation);
    expect(await run(devices["all features"], data, "f32", activation)).toEqual(first);
  });
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

/** Forward, and backward over copies of what it read. */
async function run(
  gpu: Gpu,
  { rows, size, ...data }: Data,
  dtype: ActivationType,
  activation: GluActivation,
) {
  const gu = uploadActivation(gpu, "gu", [rows, 2 * size], data.gu, dtype);
  const h = poisoned(gpu, "h", [rows, size], dtype);
  const dgu = guarded(gpu, "dgu", [rows, 2 * size], data.gu, dtype);
  const dh = guarded(gpu, "dh", [rows, size], data.dh, dtype);
  await runOnce(gpu, (recorder) => {
    gluForward(recorder, { gu, h: h.tensor, activation });
    gluBackward(recorder, { gu: dgu.tensor, dh: dh.tensor, activation });
  });
  return { h: await h.read(), dgu: await dgu.read(), hAgain: await dh.read() };
}
