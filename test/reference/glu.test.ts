import { describe, expect, test } from "vitest";
import vectors from "../fixtures/torch/vectors.json" with { type: "json" };
import { differenceGradient, dot, largestError } from "./finite-differences.ts";
import { glu, gluBackward } from "./glu.ts";
import { randomValues } from "./random.ts";

const cases = [
  { activation: "silu", vector: vectors.swiglu },
  { activation: "gelu_tanh", vector: vectors.geglu },
] as const;

describe.each(cases)("with $activation", ({ activation, vector }) => {
  test("glu and its backward agree with PyTorch", () => {
    const { x, dy, y, dx, ...sizes } = vector;
    const shape = { ...sizes, activation };
    expect(largestError(glu(x, shape), y)).toBeLessThan(1e-14); // both are f64
    expect(largestError(gluBackward(x, dy, shape), dx)).toBeLessThan(1e-14);
  });

  test("gluBackward agrees with finite differences", () => {
    const shape = { rows: 3, size: 7, activation };
    const x = randomValues(42, 1).map((value) => value * 6);
    const dy = randomValues(21, 2);
    const expected = differenceGradient((at) => dot(glu(at, shape), dy), x);
    expect(largestError(gluBackward(x, dy, shape), expected)).toBeLessThan(1e-8);
  });

  test("a gate far below zero closes without a NaN", () => {
    const x = [-1e4, 3];
    const shape = { rows: 1, size: 1, activation };
    expect(Math.abs(glu(x, shape)[0]!)).toBe(0);
    expect(Array.from(gluBackward(x, [1], shape), Math.abs)).toEqual([0, 0]);
  });
});
