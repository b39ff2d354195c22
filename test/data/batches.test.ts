import * as fc from "fast-check";
import { expect, test } from "vitest";
import { buildBatch, createBatches, orderRows } from "../../src/data/batches.ts";
import type { PackedRow } from "../../src/data/pack.ts";

const NONE = 0xffffffff;

const row: PackedRow = {
  inputIds: Uint32Array.of(11, 12, 13, 21, 22),
  labels: Int32Array.of(-100, 12, 13, 21, 22),
  segmentStarts: Uint32Array.of(0, 3),
};
const short: PackedRow = {
  inputIds: Uint32Array.of(31, 32),
  labels: Int32Array.of(-100, 32),
  segmentStarts: Uint32Array.of(0),
};
const options = { rowTokens: 5, rowsPerBatch: 2, seed: 1, padId: 7 };

test("rows are laid end to end, shifted within documents, and padded", () => {
  expect(buildBatch([row, short], options)).toEqual({
    ids: Uint32Array.of(11, 12, 13, 21, 22, 31, 32, 7, 7, 7),
    // 13 → 21 would cross into the next document, so 21 is never asked for.
    targets: Uint32Array.of(12, 13, NONE, 22, NONE, 32, NONE, NONE, NONE, NONE),
    positions: Uint32Array.of(0, 1, 2, 0, 1, 0, 1, 0, 0, 0),
    segmentStart: Uint32Array.of(0, 0, 0, 3, 3, 5, 5, 7, 8, 9),
    labelTokens: 4,
    tokens: 7,
  });
});

test("without isolation a row is one document, and rows still do not see each other", () => {
  const batch = buildBatch([row, short], { ...options, isolateDocuments: false });
  expect(Array.from(batch.targets.slice(0, 7))).toEqual([12, 13, 21, 22, NONE, 32, NONE]);
  expect(Array.from(batch.positions.slice(0, 7))).toEqual([0, 1, 2, 3, 4, 0, 1]);
  expect(Array.from(batch.segmentStart.slice(0, 7))).toEqual([0, 0, 0, 0, 0, 5, 5]);
  expect(batch.labelTokens).toBe(5);
});

test("a batch with fewer rows than its shape is padding from there on", () => {
  const batch = buildBatch([short], { ...options, rowsPerBatch: 3 });
  expect(batch.ids.length).toBe(15);
  expect([...batch.targets].filter((target) => target !== NONE)).toEqual([32]);
  expect(batch.tokens).toBe(2);
});

test("a row longer than the shape is a bug", () => {
  expect(() => buildBatch([row], { ...options, rowTokens: 4 })).toThrow(
    /internal: .*row of 5, limit 4/,
  );
});

test("each epoch visits every row once, in an order of its own", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 37 }), fc.nat(), fc.nat(9), (rows, seed, epoch) => {
      const order = orderRows(rows, seed, epoch);
      expect(order.toSorted((a, b) => a - b)).toEqual([...Array(rows).keys()]);
      expect(orderRows(rows, seed, epoch)).toEqual(order);
    }),
  );
  expect(orderRows(37, 1, 0)).not.toEqual(orderRows(37, 1, 1));
  expect(orderRows(37, 1, 0)).not.toEqual(orderRows(37, 2, 0));
});

const many = Array.from({ length: 7 }, (_, i) => ({
  ...short,
  inputIds: Uint32Array.of(100 + i, 1),
}));
const firstIds = (ids: Uint32Array) => [ids[0], ids[5]];

test("a run resumed at any batch sees what an uninterrupted run sees there", () => {
  const whole = createBatches(many, options);
  expect(whole.batchesPerEpoch).toBe(4);
  const seen = Array.from({ length: 12 }, (_, i) => whole.at(i));
  for (const index of [11, 5, 0, 8, 4]) {
    expect(createBatches(many, options).at(index)).toEqual(seen[index]);
    expect(whole.at(index)).toEqual(seen[index]);
  }
  const epoch = seen.slice(4, 8).flatMap(({ ids }) => firstIds(ids));
  expect(epoch.filter((id) => id !== 7).toSorted((a, b) => a! - b!)).toEqual(
    many.map(({ inputIds }) => inputIds[0]),
  );
});

test("without shuffling the rows come in the order of the file, epoch after epoch", () => {
  const batches = createBatches(many, { ...options, shuffle: false });
  const ids = Array.from({ length: 8 }, (_, i) => firstIds(batches.at(i).ids)).flat();
  expect(ids).toEqual([100, 101, 102, 103, 104, 105, 106, 7, 100, 101, 102, 103, 104, 105, 106, 7]);
});
