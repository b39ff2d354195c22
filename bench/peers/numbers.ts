// The made-up numbers that both sides of a comparison are given.
import { createRandom } from "../../src/base/random.ts";
import { BNB_CODES } from "../../src/formats/bnb.ts";
import type { Nf4Matrix } from "./ours/products.ts";

/** Uniform in ±`bound`. */
export function uniform(count: number, bound: number, seed: number): Float32Array<ArrayBuffer> {
  const random = createRandom(seed);
  return Float32Array.from({ length: count }, () => (2 * random.next() - 1) * bound);
}

/** A square matrix whose products are about as large as what they are given. */
export function squareWeight(size: number, seed: number): Float32Array<ArrayBuffer> {
  return uniform(size * size, Math.sqrt(3 / size), seed);
}

/** The same as NF4: codes and scales are drawn, so nothing has to be rounded to fit them. */
export function squareNf4(size: number, seed: number): Nf4Matrix {
  const random = createRandom(seed);
  const codes = Uint8Array.from({ length: (size * size) / 2 }, () => random.next() * 256);
  const meanSquare = BNB_CODES.nf4.reduce((sum, value) => sum + value ** 2, 0) / 16;
  const scale = 1 / Math.sqrt(size * meanSquare);
  const absmax = Float32Array.from(
    { length: (size * size) / 64 },
    () => scale * (0.5 + random.next()),
  );
  return { codes, absmax };
}

/** [rows, columns] → [columns, rows]. */
export function transpose(
  matrix: Float32Array,
  rows: number,
  columns: number,
): Float32Array<ArrayBuffer> {
  const turned = new Float32Array(matrix.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      turned[column * rows + row] = matrix[row * columns + column] ?? 0;
    }
  }
  return turned;
}
