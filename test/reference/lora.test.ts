import { expect, test } from "vitest";
import { differenceGradient, dot, largestError } from "./finite-differences.ts";
import { lora, loraBackward } from "./lora.ts";
import { randomValues } from "./random.ts";

const shape = { tokens: 5, inputs: 7, outputs: 4, rank: 3 };
const x = randomValues(35, 1);
const a = randomValues(21, 2);
const b = randomValues(12, 3);
const dy = randomValues(20, 4);
const kept = randomValues(35, 5).map((value) => (value > -0.4 ? 1 : 0));

test.each([
  { name: "without dropout", dropout: null },
  { name: "with dropout", dropout: { kept, probability: 0.3 } },
])("loraBackward agrees with finite differences $name", ({ dropout }) => {
  const { dA, dB, dx } = loraBackward(x, a, b, dy, 1.7, dropout, shape);
  const wantX = differenceGradient((at) => dot(lora(at, a, b, 1.7, dropout, shape), dy), x);
  const wantA = differenceGradient((at) => dot(lora(x, at, b, 1.7, dropout, shape), dy), a);
  const wantB = differenceGradient((at) => dot(lora(x, a, at, 1.7, dropout, shape), dy), b);
  expect(largestError(dx, wantX)).toBeLessThan(1e-8); // see finite-differences.ts
  expect(largestError(dA, wantA)).toBeLessThan(1e-8);
  expect(largestError(dB, wantB)).toBeLessThan(1e-8);
});

test("an input that is dropped has no influence and no gradient", () => {
  const dropout = { kept, probability: 0.3 };
  const changed = x.map((value, i) => (kept[i] === 0 ? value + 10 : value));
  expect(lora(changed, a, b, 1, dropout, shape)).toEqual(lora(x, a, b, 1, dropout, shape));
  const { dx } = loraBackward(x, a, b, dy, 1, dropout, shape);
  expect(dx.every((value, i) => kept[i] === 1 || value === 0)).toBe(true);
});
