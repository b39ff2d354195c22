// Hone's side of the comparison: logits of a model folder, with an adapter or without.
import { open } from "node:fs/promises";
import { freeModel, loadModel } from "../../src/engine/load-model.ts";
import { openModelFolder } from "../../src/engine/model-folder.ts";
import type { Gpu } from "../../src/gpu/device.ts";
import { readF32 } from "../../src/gpu/tensor.ts";
import { openFolder } from "../../src/hosts/node.ts";
import { readAdapterFolder } from "../../src/model/files/adapter-files.ts";
import { allocateBatch, writeBatch } from "../../src/model/batch.ts";
import { buildLogitsProgram } from "../../src/model/transformer.ts";

export interface OurOptions {
  readonly adapter?: string;
  readonly quantization?: "nf4" | "none";
}

// Logits of all tokens of a program are one tensor, which the weakest adapters bind up to 128 MiB of.
const LOGITS_BYTES = 64 * 2 ** 20;

/** Logits of all positions of the sequences in order, in parts: f32 [tokens, vocab] each. */
export async function* ourLogits(
  gpu: Gpu,
  path: string,
  sequences: readonly (readonly number[])[],
  { adapter, quantization = "none" }: OurOptions = {},
): AsyncGenerator<{ logits: Float32Array; vocab: number }> {
  const opened = await openModelFolder(openFolder(path));
  const { architecture } = opened;
  const { vocab } = architecture;
  const files =
    adapter === undefined ? undefined : await readAdapterFolder(openFolder(adapter), opened);
  const length = sequences[0]?.length ?? 0;
  const model = await loadModel(gpu, opened, {
    quantization,
    computeDtype: "f32",
    positions: length,
    ...(files && { targets: files.targets }),
  });
  if (files) model.adapter?.write(files.matrices);
  // As many sequences as divide their number evenly: one program serves all parts.
  const most = Math.max(1, Math.floor(LOGITS_BYTES / (vocab * 4 * length)));
  let count = Math.min(most, sequences.length);
  while (sequences.length % count !== 0) count--;
  const batch = allocateBatch(gpu, count * length);
  const { program, logits } = await buildLogitsProgram(model, batch);
  const tokens = Array.from({ length: count * length }, (_, i) => i);
  const arrays = {
    targets: new Uint32Array(tokens.length),
    positions: Uint32Array.from(tokens, (i) => i % length),
    segmentStart: Uint32Array.from(tokens, (i) => i - (i % length)),
  };
  try {
    for (let first = 0; first < sequences.length; first += count) {
      const ids = Uint32Array.from(sequences.slice(first, first + count).flat());
      writeBatch(gpu, batch, { ...arrays, ids });
      model.step.set({ adapterScale: 1 });
      program.run();
      yield { logits: await readF32(gpu, logits), vocab };
    }
  } finally {
    program.free();
    for (const tensor of [logits, batch.whole]) gpu.free(tensor);
    freeModel(model);
  }
}

export interface Comparison {
  /** Largest |ours − theirs| as a share of the largest |theirs|; NaN where any of them is. */
  readonly error: number;
  /** Share of positions where both rank the same token first. */
  readonly sameTop: number;
  readonly positions: number;
}

/** Our logits against a file of theirs: f32, all positions in order. */
export async function compareLogits(
  ours: AsyncIterable<{ logits: Float32Array; vocab: number }>,
  theirsPath: string,
): Promise<Comparison> {
  const file = await open(theirsPath, "r");
  let worst = 0;
  let largest = 0;
  let same = 0;
  let positions = 0;
  let offset = 0;
  try {
    for await (const { logits, vocab } of ours) {
      const bytes = new Uint8Array(logits.byteLength);
      const { bytesRead } = await file.read(bytes, 0, bytes.length, offset);
      if (bytesRead !== bytes.length) throw new Error(`${theirsPath} is too short`);
      offset += bytesRead;
      const theirs = new Float32Array(bytes.buffer);
      for (let row = 0; row < logits.length; row += vocab) {
        let ourTop = row;
        let theirTop = row;
        for (let i = row; i < row + vocab; i++) {
          const a = logits[i]!;
          const b = theirs[i]!;
          const difference = Math.abs(a - b);
          if (!(difference <= worst)) worst = Number.isNaN(worst) ? worst : difference;
          if (Math.abs(b) > largest) largest = Math.abs(b);
          if (a > logits[ourTop]!) ourTop = i;
          if (b > theirs[theirTop]!) theirTop = i;
        }
        positions++;
        if (ourTop === theirTop) same++;
      }
    }
    if ((await file.stat()).size !== offset) throw new Error(`${theirsPath} is too long`);
  } finally {
    await file.close();
  }
  return { error: worst / largest, sameTop: same / positions, positions };
}
