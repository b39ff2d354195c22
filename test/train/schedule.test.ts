// Learning rates: our closed form, and XTuner's by values from mmengine's own code.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { learningRate, xtunerLearningRates } from "../../src/train/schedule.ts";

const { lr_768: expected } = fixture("lr-768.json") as { lr_768: number[] };
const { lr } = fixture("numerics.json") as { lr: { logged: Record<string, string> } };
const TUTORIAL = { lr: 2e-4, warmupRatio: 0.03, epochs: 2, epochLength: 384 };

test("the tutorial's 768 rates are mmengine's", () => {
  const rates = xtunerLearningRates(TUTORIAL);
  expect(rates.length).toBe(768);
  // mmengine computes by recursion: 1.1e-15 away from the closed form by its own measure.
  rates.forEach((rate, i) =>
    expect(Math.abs(rate / expected[i]! - 1), String(i)).toBeLessThan(1e-12),
  );
});

test("the rates that XTuner prints are the ones before each logged iteration", () => {
  const rates = xtunerLearningRates(TUTORIAL);
  for (const [k, text] of Object.entries(lr.logged)) {
    const [mantissa, exponent] = rates[Number(k) - 1]!.toExponential(4).split("e");
    const sign = exponent!.startsWith("-") ? "-" : "+";
    expect(`${mantissa}e${sign}${exponent!.slice(1).padStart(2, "0")}`).toBe(text);
  }
});

test("runs on which mmengine fails or learns nothing are refused with the remedy", () => {
  const { lr_edge: edges } = fixture("data.json") as {
    lr_edge: Record<string, { total: number; result: string | { max_lr: number } }>;
  };
  const cases = Object.entries(edges).map(([name, { result }]) => ({
    epochLength: Number(/epoch_len=(\d+)/.exec(name)![1]),
    peak: typeof result === "string" ? 0 : result.max_lr,
  }));
  const [broken, sound] = [
    cases.filter(({ peak }) => peak < 1e-8),
    cases.filter(({ peak }) => peak > 1e-8),
  ];
  expect([broken.length, sound.length]).toEqual([4, 2]);
  for (const { epochLength } of broken) {
    const make = () => xtunerLearningRates({ ...TUTORIAL, epochLength });
    expect(make, String(epochLength)).toThrow("raise warmup_ratio");
  }
  for (const { epochLength, peak } of sound) {
    const rates = xtunerLearningRates({ ...TUTORIAL, epochLength });
    expect(Math.max(...rates)).toBeCloseTo(peak, 12);
  }
});

test("warm-up climbs to the peak, cosine and linear fall to nearly nothing, constant stays", () => {
  const options = { lr: 1e-3, steps: 40, warmupRatio: 0.1 } as const;
  const rates = (kind: "cosine" | "linear" | "constant") =>
    Array.from({ length: 40 }, (_, step) => learningRate({ ...options, kind }, step));
  for (const kind of ["cosine", "linear", "constant"] as const) {
    [0.25, 0.5, 0.75, 1].forEach((share, step) =>
      expect(rates(kind)[step]).toBeCloseTo(share * 1e-3, 12),
    );
  }
  expect(rates("constant").slice(4)).toEqual(Array<number>(36).fill(1e-3));
  expect(rates("linear")[22]).toBeCloseTo(0.5e-3, 12); // half of the 36 steps after warm-up
  expect(rates("cosine")[22]).toBeCloseTo(0.5e-3, 12);
  expect(rates("cosine")[13]).toBeCloseTo(((1 + Math.SQRT1_2) / 2) * 1e-3, 12); // a quarter: cos 45°
  expect(rates("cosine")[39]).toBeGreaterThan(0);
});

test("a run too short for a warm-up starts at the peak", () => {
  expect(learningRate({ kind: "cosine", lr: 1, steps: 3, warmupRatio: 0.03 }, 0)).toBe(1);
});

function fixture(name: string): unknown {
  return JSON.parse(readFileSync(new URL(`../fixtures/${name}`, import.meta.url), "utf8"));
}
