// XTuner's packing, by what its own code gave: counts, borders, and the tokens that it loses.
import { existsSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { createRandom } from "../../src/base/random.ts";
import { encodeExample } from "../../src/data/encode.ts";
import type { Example, Examples } from "../../src/data/pack.ts";
import { packAsXtuner, type XtunerRows } from "../../src/data/xtuner-pack.ts";
import { applyTemplate, promptTemplate } from "../../src/data/templates.ts";
import { tokenizerFromSentencePiece } from "../../src/formats/sentencepiece-tokenizer.ts";
import { createTokenizer } from "../../src/formats/tokenizer.ts";

interface PackCase {
  readonly sample_lens: readonly number[];
  readonly chunk: number;
  readonly varlen: boolean;
  readonly map_batch_size: number;
  readonly rows: readonly {
    readonly start: number;
    readonly len: number;
    readonly cumulative_len?: readonly number[];
  }[];
  readonly lost_tail_tokens: number;
}

const { pack: cases } = fixture("data.json") as { pack: readonly PackCase[] };
const numerics = fixture("numerics.json") as Record<
  "packing" | "packing_single_proc",
  Record<string, { chunks_per_epoch: number; short_chunks: number; tokens_lost: number }>
>;
const ROWS = 10_001;

test.each(cases.map((one, index) => [index, one] as const))(
  "case %i of XTuner's packer",
  (_, { sample_lens: lengths, chunk, map_batch_size, rows, lost_tail_tokens, varlen }) => {
    const packed = packAsXtuner(examplesOf(lengths), {
      maxLength: chunk,
      processes: 1,
      batchExamples: map_batch_size,
    });
    const found = rowsOf(packed);
    expect(found.map(({ inputIds }) => [inputIds[0], inputIds.length])).toEqual(
      rows.map(({ start, len }) => [start, len]),
    );
    // Ids and labels count the tokens through, so that each row is seen to be the right ones.
    for (const { inputIds, labels } of found) {
      inputIds.forEach((id, i) => expect([id, labels[i]]).toEqual([inputIds[0]! + i, id]));
    }
    const borders = found.map((row) => [...row.segmentStarts, row.inputIds.length]);
    // Only the cases of varlen attention say where documents begin.
    expect(varlen ? borders : undefined).toEqual(
      varlen ? rows.map((row) => row.cumulative_len) : undefined,
    );
    expect(packed.lostTokens).toBe(lost_tail_tokens);
  },
);

test.each(Object.entries(numerics.packing))(
  "32 processes, %s tokens a sample",
  (name, expected) => {
    const tokens = Number(name.slice("T=".length));
    const packed = packAsXtuner(sameLength(ROWS, tokens), { maxLength: 1024 });
    expect(packed.length).toBe(expected.chunks_per_epoch);
    expect(packed.lostTokens).toBe(expected.tokens_lost);
    const short = rowsOf(packed).filter(({ inputIds }) => inputIds.length < 1024);
    expect(short.length).toBe(expected.short_chunks);
  },
);

test.each(Object.entries(numerics.packing_single_proc))("one process, %s", (name, expected) => {
  const tokens = Number(name.slice("T=".length));
  const packed = packAsXtuner(sameLength(ROWS, tokens), {
    maxLength: 1024,
    processes: 1,
  });
  // The fixture counts the last batch, of one row, with what waited, as the short chunk it is.
  const short = rowsOf(packed).filter(({ inputIds }) => inputIds.length < 1024).length;
  expect([packed.length - short, short, packed.lostTokens]).toEqual([
    expected.chunks_per_epoch - expected.short_chunks,
    expected.short_chunks,
    expected.tokens_lost,
  ]);
});

test("any lengths: rows are what a packer over lists of tokens makes", () => {
  const random = createRandom(5);
  const below = (limit: number) => Math.floor(random.next() * limit);
  for (let round = 0; round < 200; round++) {
    const lengths = Array.from({ length: 1 + below(90) }, () => 1 + below(30));
    const [maxLength, processes, batchExamples] = [1 + below(40), 1 + below(8), 1 + below(20)];
    const options = { maxLength, processes, batchExamples };
    const packed = packAsXtuner(examplesOf(lengths), options);
    const expected = packLists(lengths, options);
    expect(rowsOf(packed).map(({ inputIds }) => [...inputIds])).toEqual(expected.rows);
    expect(packed.lostTokens).toBe(expected.lost);
  }
});

test("fewer examples than processes are a process each; an order is followed", () => {
  const few = packAsXtuner(examplesOf([5, 3, 4]), { maxLength: 8 });
  expect(
    rowsOf(few)
      .map(({ inputIds }) => inputIds.length)
      .toSorted((a, b) => a - b),
  ).toEqual([3, 4, 5]);
  const order = Array.from({ length: 99 }, (_, i) => (i * 7) % 99);
  const ordered = rowsOf(packAsXtuner(sameLength(99, 4), { order, maxLength: 4 }));
  expect(ordered.map(({ inputIds }) => inputIds[0]! / 4)).toEqual(order);
});

const REAL_TOKENIZER = new URL("../../../shared/data/internlm2-tokenizer.model", import.meta.url);

test.skipIf(!existsSync(REAL_TOKENIZER))(
  "the tutorial's data: 42 tokens a sample, 384 chunks, 26,826 tokens lost",
  () => {
    const place = "tokenizer.model";
    const files = tokenizerFromSentencePiece(readFileSync(REAL_TOKENIZER), undefined, place);
    const tokenizer = createTokenizer(files, place);
    const turn = {
      input: "请做一下自我介绍",
      output: "我是useree的小助手,内在是上海AI实验室书生·浦语的1.8B大模型哦",
    };
    const conversation = applyTemplate([turn], promptTemplate("default"));
    const example = encodeExample(conversation, tokenizer, { maxLength: 1024 });
    expect(example.inputIds.length).toBe(42);
    const examples = { length: ROWS, at: () => example };
    const packed = packAsXtuner(examples, { maxLength: 1024 });
    expect(packed).toMatchObject({ length: 384, tokens: 384 * 1024, lostTokens: 26_826 });
  },
);

/** Examples whose ids and labels number all tokens from 0. */
function examplesOf(lengths: readonly number[]): Examples {
  let next = 0;
  return lengths.map((length) => numbered((next += length) - length, length));
}

function sameLength(count: number, tokens: number): Examples {
  return { length: count, at: (index) => numbered(index * tokens, tokens) };
}

function numbered(start: number, length: number): Example {
  const ids = Uint32Array.from({ length }, (_, i) => start + i);
  return { inputIds: ids, labels: Int32Array.from(ids) };
}

function rowsOf(packed: XtunerRows) {
  return Array.from({ length: packed.length }, (_, index) => packed.at(index)!);
}

/** The packer as it is written in XTuner, over lists. */
function packLists(
  lengths: readonly number[],
  options: { maxLength: number; processes: number; batchExamples: number },
): { rows: number[][]; lost: number } {
  const { maxLength, batchExamples } = options;
  const processes = Math.min(options.processes, lengths.length);
  const rows: number[][] = [];
  let [next, first, lost] = [0, 0, 0];
  for (let process = 0; process < processes; process++) {
    const extra = process < lengths.length % processes ? 1 : 0;
    const shard = lengths.slice(first, first + Math.floor(lengths.length / processes) + extra);
    first += shard.length;
    let residual: number[] = [];
    for (let start = 0; start < shard.length; start += batchExamples) {
      for (const length of shard.slice(start, start + batchExamples)) {
        for (let i = 0; i < length; i++) residual.push(next++);
      }
      if (residual.length >= maxLength) {
        while (residual.length >= maxLength) rows.push(residual.splice(0, maxLength));
      } else {
        rows.push(residual);
        residual = [];
      }
    }
    lost += residual.length;
  }
  return { rows, lost };
}

function fixture(name: string): unknown {
  return JSON.parse(readFileSync(new URL(`../fixtures/${name}`, import.meta.url), "utf8"));
}
