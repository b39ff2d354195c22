import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { buildBatch, NO_TARGET } from "../../src/data/batches.ts";
import { countUnlabeled, rowOf } from "../../src/data/pack.ts";
import type { Example, PackedRow } from "../../src/data/pack.ts";
import fixture from "../fixtures/data.json";
import { Packer } from "./packer.ts";

type FixtureRow = {
  start: number;
  len: number;
  cumulative_len?: number[];
  position_ids?: number[];
};

/** Examples whose ids count through the whole stream from 0, as in the fixture. */
function countingExamples(lengths: readonly number[]): Example[] {
  let next = 0;
  return lengths.map((length) => {
    const ids = Array.from({ length }, () => next++);
    return { inputIds: Uint32Array.from(ids), labels: Int32Array.from(ids) };
  });
}

function* batchesOf<T>(items: readonly T[], size: number): Generator<T[]> {
  for (let i = 0; i < items.length; i += size) yield items.slice(i, i + size);
}

describe("rows are those of XTuner's Packer", () => {
  test.each(fixture.pack)(
    "lengths $sample_lens, rows of $chunk, batches of $map_batch_size, varlen $varlen",
    (expected) => {
      const packer = new Packer({ rowTokens: expected.chunk, shortRows: "emit" });
      const examples = countingExamples(expected.sample_lens);
      const rows = [...batchesOf(examples, expected.map_batch_size)].flatMap((batch) =>
        packer.push(batch),
      );
      expect(rows.map(({ inputIds }) => ({ start: inputIds[0], len: inputIds.length }))).toEqual(
        expected.rows.map(({ start, len }) => ({ start, len })),
      );
      const lost = packer.flush().reduce((sum, { inputIds }) => sum + inputIds.length, 0);
      expect(lost).toBe(expected.lost_tail_tokens);

      for (const [i, wanted] of (expected.rows as FixtureRow[]).entries()) {
        if (wanted.cumulative_len === undefined) continue;
        const row = rows[i]!;
        expect([...row.segmentStarts, row.inputIds.length]).toEqual(wanted.cumulative_len);
        const batch = buildBatch([row], {
          rowTokens: row.inputIds.length,
          rowsPerBatch: 1,
          seed: 0,
        });
        expect([...batch.positions]).toEqual(wanted.position_ids);
      }
    },
  );
});

const lengths = fc.array(fc.nat(23), { maxLength: 17 });
const rowTokens = fc.integer({ min: 1, max: 13 });

function pack(examples: readonly Example[], size: number): PackedRow[] {
  const packer = new Packer({ rowTokens: size });
  return [...examples.flatMap((example) => packer.push([example])), ...packer.flush()];
}

test("no token is lost, doubled or moved, and every row but the last is full", () => {
  fc.assert(
    fc.property(lengths, rowTokens, (sizes, size) => {
      const rows = pack(countingExamples(sizes), size);
      const total = sizes.reduce((sum, n) => sum + n, 0);
      expect(rows.flatMap(({ inputIds }) => [...inputIds])).toEqual([...Array(total).keys()]);
      expect(rows.flatMap(({ labels }) => [...labels])).toEqual([...Array(total).keys()]);
      for (const row of rows.slice(0, -1)) expect(row.inputIds.length).toBe(size);
      expect(rows.length).toBe(Math.ceil(total / size));
    }),
  );
});

test("documents begin where examples begin, and where a row cuts one", () => {
  fc.assert(
    fc.property(lengths, rowTokens, (sizes, size) => {
      const starts = new Set<number>();
      let offset = 0;
      for (const length of sizes) {
        if (length > 0) starts.add(offset);
        offset += length;
      }
      for (let row = 0; row < offset; row += size) starts.add(row);
      const actual = pack(countingExamples(sizes), size).flatMap((row, r) =>
        Array.from(row.segmentStarts, (start) => r * size + start),
      );
      expect(actual).toEqual([...starts].toSorted((a, b) => a - b));
    }),
  );
});

test("no target and no attention crosses a document", () => {
  fc.assert(
    fc.property(lengths, rowTokens, (sizes, size) => {
      // Each token's id says which example it is of.
      const examples = sizes.map((length, e) => ({
        inputIds: new Uint32Array(length).fill(e),
        labels: new Int32Array(length).fill(e),
      }));
      for (const row of pack(examples, size)) {
        const batch = buildBatch([row], { rowTokens: size, rowsPerBatch: 1, seed: 0 });
        row.inputIds.forEach((id, i) => {
          expect([id, NO_TARGET]).toContain(batch.targets[i]);
          expect(batch.ids[batch.segmentStart[i]!]).toBe(id);
        });
      }
    }),
  );
});

test("the next push begins a new row after a flush", () => {
  const packer = new Packer({ rowTokens: 4 });
  const [a, b] = countingExamples([3, 4]);
  expect(packer.push([a!])).toEqual([]);
  expect(packer.flush().length).toBe(1);
  expect(packer.flush()).toEqual([]);
  expect(packer.push([b!]).map((row) => [...row.inputIds])).toEqual([[3, 4, 5, 6]]);
});

test("an example by itself is a row with one document", () => {
  const [example] = countingExamples([3]);
  expect(rowOf(example!)).toEqual({ ...example, segmentStarts: Uint32Array.of(0) });
});

function rowWith(...labels: number[]) {
  return rowOf({ inputIds: new Uint32Array(labels.length), labels: Int32Array.from(labels) });
}

test("a row is without a label where only its first token has one", () => {
  const rows = [rowWith(7, -100), rowWith(-100, -100), rowWith(-100, 0), rowWith(7, 7), rowWith(7)];
  expect(countUnlabeled(rows)).toBe(3);
});
