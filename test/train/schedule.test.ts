// Learning rates: our closed form, and XTuner's by values from mmengine's own code.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { formatScientific } from "../../src/engine/runs/xtuner-format.ts";
import {
  learningRate,
  xtunerSchedule,
  type XtunerScheduleOptions,
} from "../../src/train/schedule.ts";

const { lr_768: expected } = fixture("lr-768.json") as { lr_768: number[] };
const { lr } = fixture("numerics.json") as {
  lr: { logged: Record<string, string>; optimizer_step_lr: Record<string, number> };
};
const { lr_edge: edges } = fixture("data.json") as {
  lr_edge: Record<
    string,
    { total: number; result: string | { max_lr: number; first4: number[]; last: number } }
  >;
};
const TUTORIAL = { kind: "cosine", lr: 2e-4, warmupRatio: 0.03 } as const;

function xtunerRates(total: number, options: Partial<XtunerScheduleOptions> = {}): number[] {
  const rateOf = xtunerSchedule({ ...TUTORIAL, total, exactTotal: total, ...options });
  return Array.from({ length: total }, (_, i) => rateOf(i));
}

test("the tutorial's 768 rates are mmengine's", () => {
  const rates = xtunerRates(768);
  expect(expected.length).toBe(768);
  // mmengine computes by recursion: 1.1e-15 away from the closed form by its own measure.
  rates.forEach((rate, i) =>
    expect(Math.abs(rate / expected[i]! - 1), String(i)).toBeLessThan(1e-12),
  );
});

test("the rates that XTuner prints are the ones before each logged iteration", () => {
  const rates = xtunerRates(768);
  for (const [k, text] of Object.entries(lr.logged)) {
    expect(formatScientific(rates[Number(k) - 1]!)).toBe(text);
  }
});

test("an optimizer step takes the rate of its group's last iteration", () => {
  const rates = xtunerRates(768);
  const steps = Object.entries(lr.optimizer_step_lr);
  expect(steps.length).toBe(48);
  for (const [step, rate] of steps) {
    expect(rates[16 * Number(step) - 1]! / rate).toBeCloseTo(1, 12);
  }
});

const cases = Object.entries(edges).map(([name, edge]) => ({ name, ...edge }));

test.each(cases.filter(({ result }) => typeof result === "string" || result.max_lr < 1e-8))(
  "refused, as mmengine fails or learns nothing: $name",
  ({ total, result }) => {
    expect(total).toBeLessThanOrEqual(66);
    const isError = typeof result === "string";
    expect(() => xtunerRates(total)).toThrow(
      isError ? "end should be larger than begin" : "stays near zero for the whole run",
    );
    // What the remedy names is enough.
    const least = /raise warmup_ratio to ([\d.]+)/.exec(messageOf(() => xtunerRates(total)))![1];
    expect(Math.max(...xtunerRates(total, { warmupRatio: Number(least) }))).toBeCloseTo(2e-4, 12);
  },
);

test.each(cases.filter(({ result }) => typeof result !== "string" && result.max_lr > 1e-8))(
  "as mmengine has them: $name",
  ({ total, result }) => {
    const rates = xtunerRates(total);
    const { first4, last, max_lr: peak } = result as Exclude<typeof result, string>;
    expect(Math.max(...rates) / peak).toBeCloseTo(1, 12);
    first4.forEach((rate, i) => expect(rates[i]! / rate).toBeCloseTo(1, 12));
    expect(rates.at(-1)! / last).toBeCloseTo(1, 10);
  },
);

test("every total up to 66 is a trap and none above, without a warm-up none at all", () => {
  for (let total = 1; total <= 100; total++) {
    const isTrap = total <= 66;
    expect(messageOf(() => xtunerRates(total)) !== "", String(total)).toBe(isTrap);
    expect(xtunerRates(total, { warmupRatio: 0 })[0]).toBe(2e-4);
  }
  expect(() => xtunerRates(100, { warmupRatio: 1 })).toThrow(
    /leaves none for the fall[^]*--set compat=none/,
  );
});

test("after the warm-up mmengine's LinearLR falls to nothing at the last, and none stays", () => {
  const linear = xtunerRates(100, { kind: "linear" });
  expect(linear[3]).toBe(2e-4);
  expect(linear[51]! / 1e-4).toBeCloseTo(1, 12); // 48 of the 96 iterations after the first at the peak
  expect(linear.at(-1)).toBe(0);
  expect(xtunerRates(100, { kind: "constant" }).slice(2)).toEqual(Array<number>(98).fill(2e-4));
});

function messageOf(run: () => unknown): string {
  try {
    run();
    return "";
  } catch (error) {
    return String(error);
  }
}

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
