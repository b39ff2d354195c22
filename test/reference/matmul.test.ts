import { expect, test } from "vitest";
import { differenceGradient, dot, largestError } from "./finite-differences.ts";
import { matmulNn, matmulNt } from "./matmul.ts";
import { randomValues } from "./random.ts";

test("matmulNt multiplies by rows of w", () => {
  const y = matmulNt([1, 2, 3, 4, 5, 6], [1, 0, 0, 0, 1, 10], 2, 2, 3);
  expect(Array.from(y)).toEqual([1, 32, 4, 65]);
});

test("matmulNn is the gradient of matmulNt", () => {
  const [M, N, K] = [3, 5, 4];
  const [x, w, dy] = [randomValues(M * K, 1), randomValues(N * K, 2), randomValues(M * N, 3)];
  const expected = differenceGradient((at) => dot(matmulNt(at, w, M, N, K), dy), x);
  expect(largestError(matmulNn(dy, w, M, K, N), expected)).toBeLessThan(1e-8);
});
