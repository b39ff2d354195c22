// Weights on their way: read ahead within bounds, the same to the bit however they are cut, and all given
// back where the way ends early.
import { expect, test } from "vitest";
import { AbortedError, UserError } from "../../src/base/error.ts";
import { read } from "../../src/gpu/tensor.ts";
import { createNf4Quantizer } from "../../src/kernels/nf4-quantize.ts";
import { type Architecture, readArchitecture } from "../../src/model/architecture.ts";
import type { ModelFiles, SourceTensor } from "../../src/model/files/checkpoint-files.ts";
import { blockLinears } from "../../src/model/linears.ts";
import { beginLoading, freeWeights, loadWeights } from "../../src/model/weights.ts";
import { testGpu } from "../gpu.ts";

const gpu = await testGpu();
const SLICE = 8 * 2 ** 20;

// Just over a slice of 4 Mi numbers in the embedding, and in gate, up and down.
const architecture = readArchitecture(
  {
    model_type: "llama",
    hidden_size: 64,
    intermediate_size: 65_664,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    vocab_size: 65_700,
    rms_norm_eps: 1e-5,
    tie_word_embeddings: true,
  },
  "the test",
);
const options = { quantization: "nf4", doubleQuant: true, positions: 8 } as const;

/** bf16 numbers in ±[2⁻⁷, 2⁻⁶), no two stretches alike. */
const pool = new Uint16Array(5 * 2 ** 20);
let state = 1;
for (let i = 0; i < pool.length; i++) {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  pool[i] = 0x3c00 | ((state >>> 24) & 0x7f) | (state & 0x8000);
}

interface Watch {
  /** Reads of more than a megabyte that have begun and not ended. */
  large: number;
  mostLarge: number;
  begun: number;
  pending: number;
}

/** A model's files, in memory; `fault` is called before each read with its number. */
function makeFiles(
  { family, hidden, vocab }: Architecture,
  fault: (read: number) => void = () => {},
): { files: ModelFiles; watch: Watch } {
  const watch: Watch = { large: 0, mostLarge: 0, begun: 0, pending: 0 };
  const tensors = new Map<string, SourceTensor>();
  const add = (name: string, shape: readonly number[]) => {
    const offset = tensors.size * 1009;
    const usesInto = tensors.size % 3 !== 0; // not every host can
    tensors.set(name, {
      name,
      shape,
      dtype: "BF16",
      place: "memory",
      async read(start, end, into) {
        const isLarge = end - start > 2 ** 19;
        const number = ++watch.begun;
        watch.pending++;
        if (isLarge) watch.mostLarge = Math.max(watch.mostLarge, ++watch.large);
        try {
          await new Promise((resolve) => setTimeout(resolve, 1));
          fault(number);
          const numbers = pool.subarray(offset + start, offset + end);
          const bytes = new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
          if (!usesInto || !into || into.length < bytes.length) return Uint8Array.from(bytes);
          into.set(bytes);
          return into.subarray(0, bytes.length);
        } finally {
          watch.pending--;
          if (isLarge) watch.large--;
        }
      },
    });
  };
  add(`${family.embedding}.weight`, [vocab, hidden]);
  add(`${family.finalNorm}.weight`, [hidden]);
  for (const name of [family.norms.attention, family.norms.mlp]) {
    add(`${family.layerPrefix(0)}.${name}.weight`, [hidden]);
  }
  for (const { segments, inputs } of Object.values(blockLinears(architecture, 0))) {
    for (const { path, rows } of segments) add(`${path}.weight`, [rows, inputs]);
  }
  const totalBytes = [...tensors.values()].reduce(
    (sum, { shape }) => sum + 2 * shape.reduce((size, extent) => size * extent, 1),
    0,
  );
  return { files: { path: "memory", tensors, totalBytes }, watch };
}

test("cut into slices and read ahead, weights are what they are whole, within three slices", async () => {
  const { files, watch } = makeFiles(architecture);
  const progress: number[] = [];
  const begun: number[] = [];
  const before = gpu.allocatedBytes;
  gpu.peakBytes = before;
  const weights = await loadWeights(gpu, architecture, files, {
    ...options,
    onProgress: (bytes) => {
      progress.push(bytes);
      begun.push(watch.begun);
    },
  });
  const resident = gpu.allocatedBytes - before;
  expect(resident).toBe(weights.tensors.reduce((sum, { bytes }) => sum + bytes, 0));
  // Three slots, a slice on the GPU, and scales of four matrices on their way back.
  const most = resident + 4 * SLICE + 4 * (2 ** 22 / 64) * 4 + 2 ** 16;
  expect(gpu.peakBytes - before).toBeLessThan(most);
  expect(watch.mostLarge).toBeLessThanOrEqual(3);
  expect(begun[0]).toBeGreaterThan(1); // with the first piece, the next are being read
  expect(progress.at(-1)).toBe(files.totalBytes);
  expect(progress).toEqual(progress.toSorted((a, b) => a - b));

  // The table, of two slices.
  const [shard] = weights.embedding;
  const embedding = files.tensors.get("model.embed_tokens.weight")!;
  const table = await embedding.read(0, 65_700 * 64);
  expect(Buffer.compare(new Uint8Array(await read(gpu, shard!.tensor)), table)).toBe(0);

  // The gate is the first half of its map, and was two slices too.
  const count = 65_664 * 64;
  const gate = files.tensors.get("model.layers.0.mlp.gate_proj.weight")!;
  const quantizer = createNf4Quantizer(gpu, "whole", [65_664, 64]);
  const part = quantizer.begin(0, count, "BF16");
  await part.push(await gate.read(0, count));
  await part.end();
  const whole = quantizer.finish();
  const { codes, absmax } = weights.blocks[0]!.linears.gateUp.weight as typeof whole;
  for (const [got, want, bytes] of [
    [codes, whole.codes, count / 2],
    [absmax, whole.absmax, (count / 64) * 4],
  ] as const) {
    const made = new Uint8Array(await read(gpu, got, 0, bytes));
    expect(Buffer.compare(made, new Uint8Array(await read(gpu, want, 0, bytes)))).toBe(0);
    gpu.free(want);
  }
  freeWeights(gpu, weights);
  expect(gpu.allocatedBytes).toBe(before);
});

test("what is recorded can be made while weights are still to come", () => {
  const { files, watch } = makeFiles(architecture);
  const { weights } = beginLoading(gpu, architecture, files, options);
  expect(watch.begun).toBe(0);
  expect(weights.blocks[0]?.linears.down.weight.shape).toEqual([64, 65_664]);
  freeWeights(gpu, weights);
});

test("stopped or broken in the midst, loading ends when all reading has, and gives all back", async () => {
  const before = gpu.allocatedBytes;
  const stop = new AbortController();
  const stopped = makeFiles(architecture);
  const aborted = loadWeights(gpu, architecture, stopped.files, {
    ...options,
    signal: stop.signal,
    onProgress: () => stop.abort(),
  });
  await expect(aborted).rejects.toBeInstanceOf(AbortedError);
  expect(stopped.watch.pending).toBe(0);
  expect(stopped.watch.begun).toBeLessThan(12);
  expect(gpu.allocatedBytes).toBe(before);

  const broken = makeFiles(architecture, (number) => {
    if (number === 9) throw new UserError("The disk is gone.", "Find it.");
  });
  await expect(loadWeights(gpu, architecture, broken.files, options)).rejects.toThrow(
    "The disk is gone.",
  );
  expect(broken.watch.pending).toBe(0);
  expect(gpu.allocatedBytes).toBe(before);
});
