import { expect, test } from "vitest";
import numerics from "../fixtures/numerics.json" with { type: "json" };
import vectors from "../fixtures/torch/vectors.json" with { type: "json" };
import { adamw, startAdamw } from "./adamw.ts";
import { largestError } from "./finite-differences.ts";

test("adamw follows torch.optim.AdamW with weight decay over four steps", () => {
  const { start, gradients, after, steps, ...settings } = vectors.adamw;
  let state = startAdamw(start);
  const trace = Array.from({ length: steps }, (_, i) => {
    const gradient = gradients.slice(i * start.length, (i + 1) * start.length);
    state = adamw(state, gradient, { ...settings, step: i + 1 });
    return [...state.parameters];
  });
  expect(largestError(trace.flat(), after)).toBeLessThan(1e-14); // both are f64
});

test("adamw follows the f32 trace of numerics.json without weight decay", () => {
  const settings = { rate: 2e-4, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 };
  let state = startAdamw(numerics.adamw_wd0.p0);
  numerics.adamw_wd0.after.forEach((expected, t) => {
    const gradients = [0.1 * (t + 1), -0.2, 0.05 * (-1) ** t, 0];
    state = adamw(state, gradients, { ...settings, step: t + 1 });
    expect(largestError(state.parameters, expected)).toBeLessThan(2e-7); // the trace is f32
  });
});
