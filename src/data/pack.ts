// Packing: examples end to end, cut into rows of a fixed length.
// Every row knows where its documents begin, so that attention and labels can stop there.
import { invariant } from "../base/error.ts";

/** Labels of tokens that are not learned. */
export const IGNORE_INDEX = -100;

/** Tokens and their labels, not yet shifted: `labels[i]` is `inputIds[i]` where it is learned. */
export interface Example {
  inputIds: Uint32Array;
  labels: Int32Array;
}

export interface PackedRow extends Example {
  /** Index in the row of the first token of each document. A document cut by the row's start counts. */
  segmentStarts: Uint32Array;
}

/** Rows that are made when they are asked for: an array, or what `packSpans` gives. */
export interface RowList {
  readonly length: number;
  at(index: number): PackedRow | undefined;
}

/** What is packed: an array, or a list that makes its examples when they are asked for. */
export interface Examples {
  readonly length: number;
  at(index: number): Example | undefined;
  /** Tokens of an example, where that is known without making it. */
  lengthOf?(index: number): number;
  /** Copies some of its tokens into a row, where that takes no example to be made. */
  copy?(index: number, from: number, row: Example, at: number, count: number): void;
}

/**
 * Rows of `examples` end to end in the order given, each made when it is asked for: all that is kept is where
 * each example ends. `order` holds indices of examples; by default their own order.
 */
export function packSpans(
  examples: Examples,
  rowTokens: number,
  order: ArrayLike<number> = { length: examples.length },
): RowList {
  invariant(rowTokens > 0, () => `packSpans: rowTokens is ${rowTokens}`);
  const indexAt = (place: number) => order[place] ?? place;
  const ends = new Float64Array(order.length);
  let tokens = 0;
  for (let place = 0; place < order.length; place++) {
    tokens += tokensOf(examples, indexAt(place));
    ends[place] = tokens;
  }
  return {
    length: Math.ceil(tokens / rowTokens),
    at(index) {
      const from = index * rowTokens;
      const to = Math.min(from + rowTokens, tokens);
      if (index < 0 || from >= tokens) return undefined;
      const row = { inputIds: new Uint32Array(to - from), labels: new Int32Array(to - from) };
      const starts: number[] = [];
      for (let place = firstPast(ends, from), at = from; at < to; place++) {
        const end = Math.min(ends[place] as number, to);
        if (end === at) continue; // an example without a token
        const begin = place === 0 ? 0 : (ends[place - 1] as number);
        starts.push(at - from);
        copyTokens(examples, indexAt(place), at - begin, row, at - from, end - at);
        at = end;
      }
      return { ...row, segmentStarts: Uint32Array.from(starts) };
    },
  };
}

function copyTokens(
  examples: Examples,
  index: number,
  from: number,
  row: Example,
  at: number,
  count: number,
): void {
  if (examples.copy) {
    examples.copy(index, from, row, at, count);
    return;
  }
  const { inputIds, labels } = examples.at(index) as Example;
  row.inputIds.set(inputIds.subarray(from, from + count), at);
  row.labels.set(labels.subarray(from, from + count), at);
}

/** Tokens of an example. */
export function tokensOf(examples: Examples, index: number): number {
  return examples.lengthOf?.(index) ?? examples.at(index)?.inputIds.length ?? 0;
}

/** The first place whose end is past `position`. */
function firstPast(ends: Float64Array, position: number): number {
  let low = 0;
  let high = ends.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((ends[middle] as number) <= position) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Some rows of a list, by their indices. */
export function selectRows(rows: RowList, indices: ArrayLike<number>): RowList {
  return {
    length: indices.length,
    at: (index) => rows.at(indices[index] ?? -1),
  };
}

/** Rows in which no token is learned. The first of a row is never predicted, whatever its label. */
export function countUnlabeled(rows: RowList): number {
  let count = 0;
  for (let index = 0; index < rows.length; index++) {
    const isLearned = rows.at(index)?.labels.some((label, i) => i > 0 && label >= 0);
    if (isLearned !== true) count++;
  }
  return count;
}

/** An example as a row of its own. */
export function rowOf(example: Example): PackedRow {
  const { inputIds, labels } = example;
  return { inputIds, labels, segmentStarts: Uint32Array.of(0) };
}
