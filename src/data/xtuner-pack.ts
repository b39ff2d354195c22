// Packing as XTuner 0.1.17 does it, accidents included: iteration counts of its runs follow from these.
//
// datasets.map runs in 32 processes, on 32 runs of consecutive examples, each with a packer of its own that
// is given 1,000 examples at a time. Tokens that wait when a process ends are lost; a batch that does not
// fill a row, with what waits, is a short row at once. Only where rows begin and end is kept; a row is
// built when it is asked for.
import { invariant } from "../base/error.ts";
import type { Example, Examples, PackedRow } from "./pack.ts";

/** map_num_proc of XTuner, and the batch_size that datasets.map has by default. */
const PROCESSES = 32;
const BATCH_EXAMPLES = 1000;

export interface XtunerPackOptions {
  /** Tokens of a row. */
  readonly maxLength: number;
  /** Indices of examples, in the order in which they are packed; by default all in their own. */
  readonly order?: ArrayLike<number>;
  /** Of datasets.map: the tests' cases have smaller ones. */
  readonly processes?: number;
  readonly batchExamples?: number;
}

export interface XtunerRows {
  readonly length: number;
  at(index: number): PackedRow | undefined;
  /** Of all rows together. */
  readonly tokens: number;
  /** Tokens in no row: what waited when a process ended. */
  readonly lostTokens: number;
}

/** A row as a place in the ordered examples. */
interface RowPlace {
  /** Position, in the order, of the example that its first token is of. */
  readonly first: number;
  /** That token's index in its example. */
  readonly skip: number;
  readonly tokens: number;
}

export function packAsXtuner(examples: Examples, options: XtunerPackOptions): XtunerRows {
  const { maxLength, order = { length: examples.length } } = options;
  invariant(maxLength > 0, () => `packAsXtuner: maxLength is ${maxLength}`);
  const indexAt = (position: number) => order[position] ?? position;
  const exampleAt = (position: number): Example => {
    const example = examples.at(indexAt(position));
    invariant(example !== undefined, () => `packAsXtuner: no example ${position}`);
    return example;
  };
  const lengths = Uint32Array.from(
    { length: order.length },
    (_, i) => examples.lengthOf?.(indexAt(i)) ?? exampleAt(i).inputIds.length,
  );
  const places = placeRows(lengths, options);
  const tokens = places.reduce((sum, place) => sum + place.tokens, 0);
  return {
    length: places.length,
    at: (index) => {
      const place = places.at(index);
      return place && buildRow(place, exampleAt);
    },
    tokens,
    lostTokens: lengths.reduce((sum, length) => sum + length, 0) - tokens,
  };
}

/** Consecutive examples for each process: the first `count mod processes` get one more. */
function shardEnds(count: number, processes: number): number[] {
  const shards = Math.min(count, processes);
  const least = Math.floor(count / shards);
  return Array.from(
    { length: shards },
    (_, i) => (i + 1) * least + Math.min(i + 1, count % shards),
  );
}

function placeRows(
  lengths: Uint32Array,
  { maxLength, processes = PROCESSES, batchExamples = BATCH_EXAMPLES }: XtunerPackOptions,
): RowPlace[] {
  const rows: RowPlace[] = [];
  let first = 0;
  for (const end of shardEnds(lengths.length, processes)) {
    let [at, skip, waiting] = [first, 0, 0];
    const take = (tokens: number) => {
      rows.push({ first: at, skip, tokens });
      waiting -= tokens;
      skip += tokens;
      while (at < end && skip >= (lengths[at] ?? 0)) skip -= lengths[at++] ?? 0;
    };
    for (let start = first; start < end; start += batchExamples) {
      const batch = lengths.subarray(start, Math.min(start + batchExamples, end));
      for (const length of batch) waiting += length;
      if (waiting > 0 && waiting < maxLength) take(waiting);
      while (waiting >= maxLength) take(maxLength);
    }
    first = end;
  }
  return rows;
}

function buildRow(
  { first, skip, tokens }: RowPlace,
  exampleAt: (position: number) => Example,
): PackedRow {
  const row = { inputIds: new Uint32Array(tokens), labels: new Int32Array(tokens) };
  const starts: number[] = [];
  let used = 0;
  for (let position = first, from = skip; used < tokens; position++, from = 0) {
    const { inputIds, labels } = exampleAt(position);
    const to = Math.min(inputIds.length, from + tokens - used);
    if (to > from) starts.push(used);
    row.inputIds.set(inputIds.subarray(from, to), used);
    row.labels.set(labels.subarray(from, to), used);
    used += to - from;
  }
  return { ...row, segmentStarts: Uint32Array.from(starts) };
}
