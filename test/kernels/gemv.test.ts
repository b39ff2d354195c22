import { expect, test } from "vitest";
import { encodeF16, decodeF16 } from "../../src/formats/float.ts";
import type { Gpu } from "../../src/gpu/device.ts";
import { write } from "../../src/gpu/tensor.ts";
import { gemv, GEMV_SLOT, GEMV_TUNABLE } from "../../src/kernels/gemv.ts";
import { NF4_GEMV_TUNABLE } from "../../src/kernels/nf4-gemv.ts";
import type { PlainWeight } from "../../src/kernels/weight.ts";
import {
  largestDifference,
  nullGpu,
  poisoned,
  randomF32,
  runOnce,
  testGpu,
  uploadF32,
} from "../gpu.ts";
import { matmulNt } from "../reference/matmul.ts";

const gpu = await testGpu();
const baseline = await testGpu({ baseline: true });

// Rows, outputs, inputs.
const SHAPES = [
  [1, 1, 4],
  [1, 2, 12],
  [1, 129, 64],
  [1, 31, 260],
  [1, 5, 2048],
  [2, 66, 132],
  [3, 17, 20],
  [8, 40, 96],
] as const;

/** See matmul.test.ts. */
function f32Tolerance(terms: number): number {
  return 2 ** -21 * Math.sqrt(terms);
}

test.each([
  { on: gpu, lanes: "1", kind: "native" },
  { on: gpu, lanes: "32", kind: "native" },
  { on: baseline, lanes: undefined, kind: "packed-bf16" },
  { on: gpu, lanes: undefined, kind: "packed-f16" },
] as const)(
  "weights in $kind, $lanes lanes: the product, its adapter, bias and residual",
  async (given) => {
    const { on, lanes, kind } = given;
    on.choices = lanes === undefined ? {} : { [GEMV_SLOT]: lanes };
    const cases = SHAPES.map(([rows, outputs, inputs]) => {
      const { weight, w } = randomWeight(on, outputs, inputs, kind);
      const rank = 8;
      const end = outputs > 8 ? [8, outputs] : [outputs];
      const [x, bias] = [randomF32(rows * inputs, 1), randomF32(outputs, 2)];
      const [h, b] = [randomF32(rows * end.length * rank, 3), randomF32(outputs * rank, 4)];
      const residual = randomF32(rows * outputs, 5);
      const plain = matmulNt(x, w, rows, outputs, inputs);
      const whole = plain.map((value, i) => {
        const [t, n] = [Math.floor(i / outputs), i % outputs];
        const segment = end.findIndex((past) => n < past);
        let sum = value + bias[n]! + residual[i]!;
        for (let j = 0; j < rank; j++) {
          sum += h[(t * end.length + segment) * rank + j]! * b[n * rank + j]!;
        }
        return sum;
      });
      return {
        inputs,
        plain,
        whole,
        alone: poisoned(on, "alone", [rows, outputs]),
        all: poisoned(on, "all", [rows, outputs]),
        operands: { x: uploadF32(on, "x", [rows, inputs], x), weight },
        more: {
          bias: uploadF32(on, "bias", [outputs], bias),
          residual: uploadF32(on, "residual", [rows, outputs], residual),
          lora: {
            h: uploadF32(on, "h", [rows, end.length * rank], h),
            b: uploadF32(on, "b", [outputs, rank], b),
            rank,
            segmentEnds: end,
          },
        },
      };
    });
    await runOnce(on, (recorder) => {
      for (const { operands, more, alone, all } of cases) {
        gemv(recorder, { ...operands, y: alone.tensor });
        gemv(recorder, { ...operands, ...more, y: all.tensor });
      }
    });
    for (const { inputs, alone, plain, all, whole } of cases) {
      expect(largestDifference(await alone.read(), plain)).toBeLessThan(f32Tolerance(inputs));
      expect(largestDifference(await all.read(), whole)).toBeLessThan(f32Tolerance(inputs + 10));
    }
  },
);

test("a gate passes on what GELU says, and all lies where it was asked for", async () => {
  gpu.choices = {};
  const [rows, features, inputs] = [2, 7, 36];
  const { weight, w } = randomWeight(gpu, 2 * features, inputs, "native");
  const x = randomF32(3 * inputs, 6);
  const y = poisoned(gpu, "y", [rows, 10]);
  await runOnce(gpu, (recorder) =>
    gemv(recorder, {
      x: uploadF32(gpu, "x", [3, inputs], x),
      weight,
      y: y.tensor,
      rows,
      xRow: 1,
      yColumn: 2,
      gate: "gelu_tanh",
    }),
  );
  const both = matmulNt(x.subarray(inputs), w, rows, 2 * features, inputs);
  const got = await y.read();
  const want = Array.from({ length: rows * features }, (_, i) => {
    const at = Math.floor(i / features) * 2 * features + (i % features);
    const z = both[at]!;
    const gate = 0.5 * z * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (z + 0.044715 * z ** 3)));
    return gate * both[at + features]!;
  });
  const placed = want.map((_, i) => got[Math.floor(i / features) * 10 + 2 + (i % features)]!);
  // Two factors of size √inputs.
  expect(largestDifference(placed, want)).toBeLessThan(2 ** -21 * inputs * 4);
  expect(got.filter(Number.isNaN)).toHaveLength(got.length - want.length);
});

test("an adapter's way down is scaled by segment and by the step", async () => {
  gpu.choices = {};
  const [rows, rank, inputs] = [2, 4, 36];
  const scales = [0.5, 2, -3];
  const { weight, w } = randomWeight(gpu, 12, inputs, "native");
  const x = randomF32(rows * inputs, 6);
  const y = poisoned(gpu, "y", [rows, 12]);
  await runOnce(
    gpu,
    (recorder) =>
      gemv(recorder, {
        x: uploadF32(gpu, "x", [rows, inputs], x),
        weight,
        y: y.tensor,
        scaled: { rank, scales },
      }),
    { adapterScale: 0.75 },
  );
  const want = matmulNt(x, w, rows, 12, inputs).map(
    (value, i) => 0.75 * scales[Math.floor((i % 12) / rank)]! * value,
  );
  expect(largestDifference(await y.read(), want)).toBeLessThan(3 * f32Tolerance(inputs));
});

test("a second run gives the same bits", async () => {
  gpu.choices = { [GEMV_SLOT]: "32" };
  const { weight } = randomWeight(gpu, 70, 260, "native");
  const x = uploadF32(gpu, "x", [1, 260], randomF32(260, 8));
  const [first, second] = [poisoned(gpu, "y", [1, 70]), poisoned(gpu, "y", [1, 70])];
  for (const y of [first, second]) {
    await runOnce(gpu, (recorder) => gemv(recorder, { x, weight, y: y.tensor }));
  }
  expect(await second.read()).toEqual(await first.read());
});

test("a head of more outputs than workgroups in one dimension is dispatched in folds", async () => {
  const on = await nullGpu();
  on.choices = { [GEMV_SLOT]: "64" }; // a pair of outputs a workgroup
  const outputs = 151_936;
  const tensor = on.allocate("weight", "u32", [outputs, 2]);
  const weight = { tensor, shape: [outputs, 4], kind: "packed-bf16" } as const;
  const x = on.allocate("x", "f32", [1, 4]);
  const y = on.allocate("y", "f32", [1, outputs]);
  // WebGPU would refuse it otherwise.
  const run = runOnce(on, (recorder) => gemv(recorder, { x, weight, y }));
  await expect(run).resolves.toBeUndefined();
});

test("every variant that an adapter may be given compiles", async () => {
  const on = await nullGpu();
  const sizes = {
    hidden: 256,
    intermediate: 512,
    heads: 4,
    kvHeads: 2,
    headSize: 64,
    rank: 8,
    tokens: 1,
    act: "f16",
  } as const;
  for (const tunable of [GEMV_TUNABLE, NF4_GEMV_TUNABLE]) {
    const candidates = tunable.candidates(on, sizes);
    expect(candidates.length).toBeGreaterThan(1);
    const trial = tunable.trial(on, sizes);
    for (const name of candidates) {
      on.choices = { [tunable.slot]: name };
      await runOnce(on, (recorder) => trial.record(recorder));
    }
  }
});

function randomWeight(on: Gpu, outputs: number, inputs: number, kind: PlainWeight["kind"]) {
  const values = randomF32(outputs * inputs, outputs + inputs);
  if (kind === "native") {
    const tensor = uploadF32(on, "weight", [outputs, inputs], values);
    return { weight: { tensor, shape: [outputs, inputs], kind } as const, w: values };
  }
  const bits = new Uint32Array(values.buffer);
  const halves =
    kind === "packed-f16" ? encodeF16(values) : Uint16Array.from(bits, (word) => word >>> 16);
  const w =
    kind === "packed-f16"
      ? decodeF16(halves)
      : new Float32Array(Uint32Array.from(halves, (half) => half << 16).buffer);
  const tensor = on.allocate("weight", "u32", [outputs, inputs / 2]);
  write(on, tensor, halves);
  return { weight: { tensor, shape: [outputs, inputs], kind } as const, w };
}
