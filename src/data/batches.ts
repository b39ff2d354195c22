// Rows to batches of fixed shape: which rows, in which order, as the arrays a step uploads.
// A batch is a pure function of (rows, options, index), so a run resumes from one integer.
import { invariant } from "../base/error.ts";
import { createRandom } from "../base/random.ts";
import type { PackedRow, RowList } from "./pack.ts";

/** A target that asks for nothing: −1 as u32. */
export const NO_TARGET = 0xffffffff;

/** One forward pass over `rows` × `rowTokens` tokens, laid end to end. */
export interface Batch {
  /** Token ids. */
  ids: Uint32Array<ArrayBuffer>;
  /** The id that each position must predict, or NO_TARGET. Already shifted. */
  targets: Uint32Array<ArrayBuffer>;
  /** Position of each token for rotary embedding. */
  positions: Uint32Array<ArrayBuffer>;
  /** Index, in the batch, of the first token that each token may attend to. */
  segmentStart: Uint32Array<ArrayBuffer>;
  /** Targets that ask for something. Zero is possible: divide with care. */
  labelTokens: number;
  /** Tokens that are not padding. */
  tokens: number;
}

export interface BatchOptions {
  /** Length of a row, in tokens. Shorter rows are padded; longer ones are a bug. */
  rowTokens: number;
  rowsPerBatch: number;
  seed: number;
  /** Order the rows anew in each epoch. Default true. */
  shuffle?: boolean;
  /**
   * Documents of a row do not see each other, count positions from their own start, and predict
   * nothing across their borders. False is XTuner's plain packing. Default true.
   */
  isolateDocuments?: boolean;
  /** Id of padding; it is never attended to or predicted. Default 0. */
  padId?: number;
}

export interface Batches {
  /** The last batch of an epoch is filled up with padding rows. */
  batchesPerEpoch: number;
  /** Batch `index` of the run, counted through all epochs from 0. */
  at(index: number): Batch;
}

export function createBatches(rows: RowList, options: BatchOptions): Batches {
  const { rowsPerBatch, seed, shuffle = true } = options;
  invariant(rows.length > 0, () => "createBatches: no rows");
  const batchesPerEpoch = Math.ceil(rows.length / rowsPerBatch);
  let epoch = -1;
  let order: number[] = [];
  return {
    batchesPerEpoch,
    at(index) {
      const wanted = Math.floor(index / batchesPerEpoch);
      if (wanted !== epoch) {
        epoch = wanted;
        order = shuffle ? orderRows(rows.length, seed, epoch) : [...Array(rows.length).keys()];
      }
      const first = (index % batchesPerEpoch) * rowsPerBatch;
      const chosen = order.slice(first, first + rowsPerBatch);
      return buildBatch(
        chosen.map((row) => rows.at(row) as PackedRow),
        options,
      );
    },
  };
}

/** The order of `rows` rows in an epoch: a permutation that depends on nothing but its arguments. */
export function orderRows(rows: number, seed: number, epoch: number): number[] {
  // Streams from 1 up, as 0 is the seed's own.
  return createRandom(seed, epoch + 1).shuffle([...Array(rows).keys()]);
}

/** Lays rows end to end, shifts the labels and pads to `rowsPerBatch` × `rowTokens`. */
export function buildBatch(rows: readonly PackedRow[], options: BatchOptions): Batch {
  const { rowTokens, rowsPerBatch, isolateDocuments = true, padId = 0 } = options;
  invariant(rows.length <= rowsPerBatch, () => `buildBatch: ${rows.length} rows`);
  const size = rowTokens * rowsPerBatch;
  const batch: Batch = {
    ids: new Uint32Array(size).fill(padId),
    targets: new Uint32Array(size).fill(NO_TARGET),
    positions: new Uint32Array(size),
    // Each padding token is a segment of its own: it attends to itself, which costs nothing.
    segmentStart: Uint32Array.from({ length: size }, (_, i) => i),
    labelTokens: 0,
    tokens: 0,
  };
  rows.forEach((row, r) => {
    const { length } = row.inputIds;
    invariant(length <= rowTokens, () => `buildBatch: a row of ${length}, limit ${rowTokens}`);
    batch.ids.set(row.inputIds, r * rowTokens);
    batch.tokens += length;
    const starts = isolateDocuments ? row.segmentStarts : Uint32Array.of(0);
    starts.forEach((start, d) => {
      placeDocument(batch, row.labels, r * rowTokens, start, starts[d + 1] ?? length);
    });
  });
  return batch;
}

/** Fills in one document, tokens `start` to `end` of the row that begins at `rowStart`. */
function placeDocument(
  batch: Batch,
  labels: Int32Array,
  rowStart: number,
  start: number,
  end: number,
): void {
  for (let i = start; i < end; i++) {
    batch.positions[rowStart + i] = i - start;
    batch.segmentStart[rowStart + i] = rowStart + start;
    const next = i + 1 < end ? (labels[i + 1] as number) : -1;
    if (next < 0) continue;
    batch.targets[rowStart + i] = next;
    batch.labelTokens++;
  }
}
