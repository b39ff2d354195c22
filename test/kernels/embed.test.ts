import { describe, expect, test } from "vitest";
import { encodeBf16, encodeF16 } from "../../src/formats/float.ts";
import type { Gpu } from "../../src/gpu/device.ts";
import { slice, write } from "../../src/gpu/tensor.ts";
import { embed, type TableEncoding } from "../../src/kernels/embed.ts";
import { poisoned, randomF32, runOnce, testGpu, uploadU32 } from "../gpu.ts";
import * as reference from "../reference/embed.ts";

const devices = {
  "all features": await testGpu(),
  baseline: await testGpu({ baseline: true }),
};

const cases = [
  { tokens: 1, hidden: 4, vocabulary: 1 }, // the smallest of everything
  { tokens: 1, hidden: 64, vocabulary: 7 },
  { tokens: 2, hidden: 36, vocabulary: 5 },
  { tokens: 3, hidden: 4, vocabulary: 11 },
  { tokens: 63, hidden: 4, vocabulary: 17 },
  { tokens: 64, hidden: 4, vocabulary: 17 }, // one whole workgroup
  { tokens: 65, hidden: 4, vocabulary: 17 }, // and one thread more
  { tokens: 33, hidden: 100, vocabulary: 300 },
  { tokens: 70, hidden: 128, vocabulary: 63 },
  { tokens: 257, hidden: 68, vocabulary: 129 },
];

for (const [name, gpu] of Object.entries(devices)) {
  describe.each(["f32", "f16", "bf16"] as const)(`on ${name}, from %s`, (encoding) => {
    test.each(cases)(
      "embed copies rows exactly: $tokens of $vocabulary × $hidden",
      async ({ tokens, hidden, vocabulary }) => {
        // Multiples of 1/128 in [−1, 1) are exact in all three encodings.
        const values = randomF32(vocabulary * hidden, 1).map((v) => Math.floor(v * 128) / 128);
        const ids = idsBelow(vocabulary, tokens);
        const y = poisoned(gpu, "y", [tokens, hidden]);
        const table = uploadTable(gpu, values, hidden, encoding);
        await runOnce(gpu, (recorder) =>
          embed(recorder, {
            ids: uploadU32(gpu, "ids", [tokens], ids),
            table,
            encoding,
            y: y.tensor,
          }),
        );
        expect(Array.from(await y.read())).toEqual(
          Array.from(reference.embed(values, ids, hidden)),
        );
      },
    );
  });
}

test("shards of the table together write every token once", async () => {
  const gpu = devices.baseline;
  const [tokens, hidden, vocabulary] = [91, 64, 37];
  const values = randomF32(vocabulary * hidden, 2);
  const ids = idsBelow(vocabulary, tokens);
  const table = uploadTable(gpu, values, hidden, "f32");
  const y = poisoned(gpu, "y", [tokens, hidden]);
  await runOnce(gpu, (recorder) => {
    // Rows 0–16, 17–35 and 36: a row is 256 bytes, so that every shard may start anywhere.
    for (const [firstRow, end] of [
      [0, 17],
      [17, 36],
      [36, 37],
    ] as const) {
      embed(recorder, {
        ids: uploadU32(gpu, "ids", [tokens], ids),
        table: slice(table, "shard", firstRow * hidden, [end - firstRow, hidden]),
        encoding: "f32",
        y: y.tensor,
        firstRow,
      });
    }
  });
  expect(Array.from(await y.read())).toEqual(Array.from(reference.embed(values, ids, hidden)));
});

test.each(["f32", "f16", "bf16"] as const)("rows from %s grow by scale", async (encoding) => {
  const gpu = devices.baseline;
  const [tokens, hidden, vocabulary] = [7, 36, 5];
  const values = randomF32(vocabulary * hidden, 4).map((v) => Math.floor(v * 128) / 128);
  const ids = idsBelow(vocabulary, tokens);
  const scale = Math.fround(Math.sqrt(1152));
  const y = poisoned(gpu, "y", [tokens, hidden]);
  await runOnce(gpu, (recorder) =>
    embed(recorder, {
      ids: uploadU32(gpu, "ids", [tokens], ids),
      table: uploadTable(gpu, values, hidden, encoding),
      encoding,
      y: y.tensor,
      scale,
    }),
  );
  // One product in f32, which is what rounding the exact one gives.
  const expected = Float32Array.from(reference.embed(values, ids, hidden, scale));
  expect(Array.from(await y.read())).toEqual(Array.from(expected));
});

test("a shard leaves the tokens of others alone", async () => {
  const gpu = devices.baseline;
  const y = poisoned(gpu, "y", [4, 4]);
  await runOnce(gpu, (recorder) =>
    embed(recorder, {
      ids: uploadU32(gpu, "ids", [4], [2, 3, 4, 5]),
      table: uploadTable(gpu, Float32Array.from({ length: 8 }).fill(1), 4, "f32"),
      encoding: "f32",
      y: y.tensor,
      firstRow: 3, // and so rows 3 and 4
    }),
  );
  const rows = Array.from(await y.read()).map(Number.isNaN);
  expect(rows).toEqual([true, false, false, true].flatMap((is) => [is, is, is, is]));
});

test("embed names both tensors when they do not fit", async () => {
  const gpu = devices.baseline;
  const record = runOnce(gpu, (recorder) =>
    embed(recorder, {
      ids: uploadU32(gpu, "ids", [3], [0, 0, 0]),
      table: uploadTable(gpu, new Float32Array(16), 8, "f32"),
      encoding: "f32",
      y: poisoned(gpu, "hidden", [2, 8]).tensor,
    }),
  );
  await expect(record).rejects.toThrow("embed: ids is u32 [1, 3], but hidden asks for u32 [1, 2]");
});

/** Ids that hit the first and the last row of the table. */
function idsBelow(vocabulary: number, tokens: number): Uint32Array {
  const ids = Uint32Array.from(randomF32(tokens, 3), (v) => Math.floor(((v + 1) / 2) * vocabulary));
  ids[0] = vocabulary - 1;
  if (tokens > 1) ids[1] = 0;
  return ids;
}

function uploadTable(gpu: Gpu, values: Float32Array, hidden: number, encoding: TableEncoding) {
  const rows = values.length / hidden;
  const table = gpu.allocate(
    "table",
    encoding === "f32" ? "f32" : "u32",
    encoding === "f32" ? [rows, hidden] : [rows, hidden / 2],
  );
  const encode = encoding === "f16" ? encodeF16 : encodeBf16;
  write(gpu, table, encoding === "f32" ? Float32Array.from(values) : encode(values));
  return table;
}
