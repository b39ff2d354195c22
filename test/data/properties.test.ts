// What must hold of any data: on the way from examples to batches nothing is lost, doubled or moved but what
// XTuner loses, and nothing is learned across documents.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createBatches, NO_TARGET } from "../../src/data/batches.ts";
import { splitExamples } from "../../src/data/dataset.ts";
import { createDraw } from "../../src/data/draw.ts";
import { type Example, IGNORE_INDEX, packSpans, selectRows } from "../../src/data/pack.ts";
import { TokenStore } from "../../src/data/token-store.ts";
import { packAsXtuner } from "../../src/data/xtuner-pack.ts";
import { listOf } from "./lists.ts";
import { Packer } from "./packer.ts";

/** Lengths of examples: none, one, a few, and now and then one of many rows. */
const lengths = fc.array(
  fc.oneof(
    { weight: 1, arbitrary: fc.constantFrom(0, 1) },
    { weight: 6, arbitrary: fc.nat(23) },
    { weight: 1, arbitrary: fc.integer({ min: 100, max: 400 }) },
  ),
  { maxLength: 40 },
);
const rowTokens = fc.oneof(fc.integer({ min: 1, max: 13 }), fc.integer({ min: 14, max: 200 }));
const seed = fc.nat();

/** Some of the indices below `count`, each once, in any order. */
const orderOf = (count: number) => fc.shuffledSubarray([...Array(count).keys()]);
const lengthsAndOrder = lengths.chain((sizes) =>
  fc.tuple(fc.constant(sizes), orderOf(sizes.length)),
);

/** Ids number all tokens from 0; of each seven, a few are not learned. */
function numbered(sizes: readonly number[]): Example[] {
  let next = 0;
  return sizes.map((length) => {
    const inputIds = Uint32Array.from({ length }, () => next++);
    const labels = Int32Array.from(inputIds, (id) => ((id * 5) % 7 < 2 ? IGNORE_INDEX : id));
    return { inputIds, labels };
  });
}

const idsOf = (list: readonly Example[]) => list.flatMap(({ inputIds }) => [...inputIds]);
const labelsOf = (list: readonly Example[]) => list.flatMap(({ labels }) => [...labels]);
const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0);

describe("rows made when they are asked for", () => {
  test("are those of a packer, in any order of examples and of asking", () => {
    fc.assert(
      fc.property(lengthsAndOrder, rowTokens, seed, ([sizes, order], size, asking) => {
        const examples = numbered(sizes);
        const packer = new Packer({ rowTokens: size });
        const expected = [...packer.push(order.map((i) => examples[i]!)), ...packer.flush()];
        const rows = packSpans(examples, size, order);
        expect(rows.length).toBe(expected.length);
        const indices = expected.map((_row, i) => (i * 7 + asking) % expected.length);
        for (const i of [...indices, ...expected.keys()]) expect(rows.at(i)).toEqual(expected[i]);
        expect([rows.at(-1), rows.at(expected.length)]).toEqual([undefined, undefined]);
        expect(listOf(selectRows(rows, indices))).toEqual(indices.map((i) => expected[i]));
      }),
    );
  });

  test("hold all tokens and labels once, in order; all rows but the last are full", () => {
    fc.assert(
      fc.property(lengthsAndOrder, rowTokens, ([sizes, order], size) => {
        const examples = numbered(sizes);
        const given = order.map((i) => examples[i]!);
        const rows = listOf(packSpans(examples, size, order));
        expect(idsOf(rows)).toEqual(idsOf(given));
        expect(labelsOf(rows)).toEqual(labelsOf(given));
        for (const { inputIds } of rows.slice(0, -1)) expect(inputIds.length).toBe(size);
      }),
    );
  });

  test("come out of the compact store as they would of plain examples", () => {
    fc.assert(
      fc.property(lengths, rowTokens, (sizes, size) => {
        const store = new TokenStore();
        const plain = numbered(sizes).map((example, i) => ({
          ...example,
          truncated: i % 3 === 1,
          tokensLost: i % 3 === 1 ? i : 0,
          eosSupervised: i % 2 === 0,
          labelTokens: example.labels.filter((label) => label >= 0).length,
        }));
        for (const example of plain) store.add(example);
        plain.forEach((_example, i) => store.repeat(i));
        const twice = [...plain, ...plain];
        expect(listOf(store)).toEqual(twice);
        expect(listOf(packSpans(store, size))).toEqual(listOf(packSpans(twice, size)));
      }),
      { numRuns: 30 }, // each takes a store of megabytes
    );
  });
});

test("packed as XTuner does, only what waits when a process ends is lost, and that is counted", () => {
  const processes = fc.integer({ min: 1, max: 9 });
  const batch = fc.integer({ min: 1, max: 20 });
  fc.assert(
    fc.property(
      lengthsAndOrder.filter(([, order]) => order.length > 0),
      rowTokens,
      processes,
      batch,
      ([sizes, order], maxLength, processCount, batchExamples) => {
        const examples = numbered(sizes);
        const options = { maxLength, order, processes: processCount, batchExamples };
        const packed = packAsXtuner(examples, options);
        const rows = listOf(packed);
        const given = order.map((i) => examples[i]!);
        // Where in what was given each token of the rows stands: forward only, so none comes twice.
        const placeOf = new Map(idsOf(given).map((id, place) => [id, place]));
        const places = idsOf(rows).map((id) => placeOf.get(id)!);
        expect(places).toEqual([...new Set(places)].toSorted((a, b) => a - b));
        const labels = labelsOf(given);
        expect(labelsOf(rows)).toEqual(places.map((place) => labels[place]));
        expect(packed.tokens).toBe(places.length);
        expect(packed.lostTokens).toBe(placeOf.size - places.length);
        // What is lost stands at the ends of processes: in each less than a row.
        const kept = new Set(places);
        const ends = shardEnds(given, Math.min(processCount, order.length));
        let start = 0;
        for (const end of ends) {
          const lost = [...Array(end).keys()].slice(start).filter((place) => !kept.has(place));
          expect(lost.length).toBeLessThan(maxLength);
          expect(lost).toEqual(lost.map((_place, i) => end - lost.length + i));
          start = end;
        }
        for (const { inputIds } of rows) expect(inputIds.length).toBeLessThanOrEqual(maxLength);
      },
    ),
  );
});

/** The token after the last of each process, as datasets deals examples out: the first ones get one more. */
function shardEnds(examples: readonly Example[], processes: number): number[] {
  const shard = (i: number) =>
    Math.floor(examples.length / processes) + (i < examples.length % processes ? 1 : 0);
  const ends: number[] = [];
  let taken = 0;
  for (let i = 0; i < processes; i++) {
    taken += shard(i);
    ends.push(idsOf(examples.slice(0, taken)).length);
  }
  return ends;
}

/** Both packers, as functions from examples to rows. */
const PACKERS = [
  ["end to end", (examples: Example[], size: number) => packSpans(examples, size)],
  [
    "as XTuner",
    (examples: Example[], maxLength: number) =>
      packAsXtuner(examples, { maxLength, processes: 3, batchExamples: 5 }),
  ],
] as const;

describe.each(PACKERS)("packed %s", (_, pack) => {
  test("every learned token is asked for once, but for a document's first and one that begins a row", () => {
    fc.assert(
      fc.property(
        lengths.filter((sizes) => sum(sizes) > 0),
        rowTokens,
        (sizes, size) => {
          const examples = numbered(sizes);
          const rows = pack(examples, size);
          fc.pre(rows.length > 0);
          const options = { rowTokens: size, rowsPerBatch: 2, seed: 1, shuffle: false };
          const batches = createBatches(rows, options);
          const asked = Array.from({ length: batches.batchesPerEpoch }, (_index, i) => {
            const { targets, labelTokens } = batches.at(i);
            const some = [...targets].filter((target) => target !== NO_TARGET);
            expect(labelTokens).toBe(some.length);
            return some;
          }).flat();
          const firsts = new Set(
            examples.flatMap(({ inputIds }) => Array.from(inputIds.slice(0, 1))),
          );
          const expected = listOf(rows).flatMap(({ labels }) =>
            [...labels].slice(1).filter((label) => label >= 0 && !firsts.has(label)),
          );
          expect(asked).toEqual(expected);
        },
      ),
    );
  });

  test("no token is asked of, or seen by, another document", () => {
    fc.assert(
      fc.property(lengths, rowTokens, (sizes, size) => {
        // Each token's id says which example it is of.
        const examples = sizes.map((length, e) => ({
          inputIds: new Uint32Array(length).fill(e),
          labels: new Int32Array(length).fill(e),
        }));
        const rows =
          examples.length > 0 ? pack(examples, size) : { length: 0, at: () => undefined };
        fc.pre(rows.length > 0);
        const batches = createBatches(rows, {
          rowTokens: size,
          rowsPerBatch: 3,
          seed: 1,
          padId: 999,
        });
        for (let i = 0; i < batches.batchesPerEpoch; i++) {
          const { ids, targets, positions, segmentStart } = batches.at(i);
          const isSound = (id: number, at: number) =>
            [id, NO_TARGET].includes(targets[at]!) &&
            ids[segmentStart[at]!] === id &&
            positions[at] === at - segmentStart[at]!;
          expect(ids.findIndex((id, at) => !isSound(id, at))).toBe(-1);
        }
      }),
    );
  });
});

/** Rows of one, two and three tokens. */
const rowsOf = (count: number) =>
  listOf(packSpans(numbered([3 * count]), 3)).map((row, i) => ({
    ...row,
    inputIds: row.inputIds.slice(0, 1 + (i % 3)),
    labels: row.labels.slice(0, 1 + (i % 3)),
  }));

const isRising = (list: readonly number[]) => list.every((i, at) => at === 0 || i > list[at - 1]!);

describe("batches", () => {
  test("take every row once an epoch, and from any index on they are the same", () => {
    const count = fc.integer({ min: 1, max: 30 });
    const perBatch = fc.integer({ min: 1, max: 7 });
    const asked = fc.array(fc.nat(99), { minLength: 1, maxLength: 9 });
    fc.assert(
      fc.property(
        count,
        perBatch,
        seed,
        fc.boolean(),
        asked,
        (rowCount, size, key, shuffle, list) => {
          const rows = rowsOf(rowCount);
          const options = { rowTokens: 3, rowsPerBatch: size, seed: key, shuffle, padId: 12_345 };
          const whole = createBatches(rows, options);
          for (let epoch = 0; epoch < 3; epoch++) {
            const batches = Array.from({ length: whole.batchesPerEpoch }, (_index, i) =>
              whole.at(epoch * whole.batchesPerEpoch + i),
            );
            const ids = batches.flatMap((batch) => [...batch.ids]).filter((id) => id !== 12_345);
            const given = idsOf(rows);
            expect(shuffle ? ids.toSorted((a, b) => a - b) : ids).toEqual(given);
            expect(sum(batches.map(({ tokens }) => tokens))).toBe(given.length);
          }
          for (const index of list) {
            expect(createBatches(rows, options).at(index)).toEqual(whole.at(index));
          }
        },
      ),
    );
  });
});

describe("rows that are chosen", () => {
  test("a split puts each example on one side, as many as asked for, by the seed alone", () => {
    const share = fc.oneof(
      fc.double({ min: 0, max: 0.9, noNaN: true }),
      fc.integer({ min: 1, max: 40 }),
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 300 }), share, seed, (count, evalSplit, key) => {
        const wanted = evalSplit < 1 ? Math.ceil(evalSplit * count) : evalSplit;
        fc.pre(wanted < count);
        const { train, evaluation } = splitExamples(count, { evalSplit, seed: key });
        expect(isRising(train) && isRising(evaluation)).toBe(true);
        expect(evaluation.length).toBe(wanted);
        const all = [...train, ...evaluation].toSorted((a, b) => a - b);
        expect(all).toEqual([...Array(count).keys()]);
        expect(splitExamples(count, { evalSplit, seed: key })).toEqual({ train, evaluation });
      }),
    );
  });

  test("a draw keeps so many in their order, by the seed alone, and of more rows the ones it kept or new ones", () => {
    fc.assert(
      fc.property(fc.nat(200), fc.integer({ min: 1, max: 50 }), seed, (count, wanted, key) => {
        const draw = (rows: number) => {
          const drawing = createDraw<number>(wanted, key);
          for (let i = 0; i < rows; i++) if (drawing.isNextDrawn()) drawing.keep(i);
          return drawing.drawn();
        };
        const drawn = draw(count);
        expect(drawn.length).toBe(Math.min(count, wanted));
        expect(drawn).toEqual([...new Set(drawn)].toSorted((a, b) => a - b));
        expect(draw(count)).toEqual(drawn);
        for (const i of draw(count + 10)) expect(i >= count || drawn.includes(i)).toBe(true);
      }),
    );
  });

  test("a draw is fair to every row, wherever it stands", () => {
    const counts = Array.from({ length: 20 }, () => 0);
    for (let key = 0; key < 1000; key++) {
      const draw = createDraw<number>(5, key);
      for (let i = 0; i < 20; i++) if (draw.isNextDrawn()) draw.keep(i);
      for (const i of draw.drawn()) counts[i]!++;
    }
    // 250 of each are expected, give or take 14; six times that is room for all twenty.
    for (const count of counts) expect(Math.abs(count - 250)).toBeLessThan(84);
  });
});
