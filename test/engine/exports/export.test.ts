// What leaves the engine is what was trained: adapters and merged weights, written, reloaded, compared.
import {
  closeSync,
  ftruncateSync,
  openSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Folder } from "../../../src/base/folder.ts";
import { createRandom } from "../../../src/base/random.ts";
import { chooseTemplate, openModelFolder } from "../../../src/engine/model-folder.ts";
import { freeModel, loadModel } from "../../../src/engine/load-model.ts";
import { exportAdapter, merge } from "../../../src/engine/exports/export.ts";
import { adapterCompanions } from "../../../src/engine/exports/adapter-companions.ts";
import { parseConfig } from "../../../src/config/read.ts";
import { ADAPTER_DEFAULTS, selectTargets } from "../../../src/formats/peft.ts";
import { safetensorsHeader } from "../../../src/formats/safetensors.ts";
import { readF32 } from "../../../src/gpu/tensor.ts";
import { openFolder } from "../../../src/hosts/node.ts";
import type { LoraMatrices } from "../../../src/model/adapter.ts";
import {
  encodeMatrices,
  modulesOf,
  readAdapterFolder,
} from "../../../src/model/files/adapter-files.ts";
import { openTensorFile } from "../../../src/model/files/checkpoint-files.ts";
import { allLinears } from "../../../src/model/linears.ts";
import { buildLogitsProgram } from "../../../src/model/transformer.ts";
import { testGpu } from "../../gpu.ts";
import { microBatchOf, uploadBatch } from "../../model/tiny.ts";
import { temporaryFolder, writeTinyModel } from "../tiny-folder.ts";

const gpu = await testGpu();
const base = writeTinyModel("BF16");
const adapterFolder = await writeAdapter(base);

const TOKENS = 24;
const random = createRandom(5);
const batch = microBatchOf({
  ids: Array.from({ length: TOKENS }, () => Math.floor(random.next() * 2304)),
  targets: Array<number>(TOKENS).fill(0),
  positions: Array.from({ length: TOKENS }, (_, i) => i),
  segmentStart: Array<number>(TOKENS).fill(0),
});

test("an exported adapter gives the very same logits", async () => {
  const output = temporaryFolder();
  const summary = await exportAdapter(openFolder(adapterFolder), openFolder(output));
  expect(summary.files.map(({ name }) => name)).toContain("adapter_model.safetensors");
  const options = { quantization: "nf4", adapter: adapterFolder } as const;
  const before = await logitsOf(base, options);
  const after = await logitsOf(base, { ...options, adapter: output });
  expect(after).toEqual(before);
  // What was loaded was freed; the batches and logits of this file's programs are small.
  expect(gpu.allocatedBytes).toBeLessThan(2 ** 22);
  // And the adapter does something at all.
  expect(await logitsOf(base, { quantization: "nf4" })).not.toEqual(before);
});

test.each(["F16", "F32"] as const)(
  "an adapter is written in %s where that is asked for",
  async (dtype) => {
    const output = openFolder(temporaryFolder());
    const { check } = await exportAdapter(openFolder(adapterFolder), output, { dtype });
    expect(check).toContain("read back equal");
    const tensors = await openTensorFile(output, "adapter_model.safetensors");
    expect(new Set(tensors.map((tensor) => tensor.dtype))).toEqual(new Set([dtype]));
  },
);

test("a large adapter is copied and compared in pieces, to its last byte", async () => {
  const largest = { bytes: 0 };
  const checkpoint = watched(openFolder(writeLargeAdapter()), largest);
  const output = openFolder(temporaryFolder());
  const { check } = await exportAdapter(checkpoint, watched(output, largest));
  expect(check).toContain("1 pairs of matrices");
  expect(largest.bytes).toBeLessThanOrEqual(2 ** 22); // of a file of 9 MB
  const damaging: Folder = {
    ...output,
    async write(name, content) {
      await output.write(name, content);
      if (!name.endsWith(".safetensors")) return;
      const bytes = await output.read(name);
      bytes[bytes.length - 1]! ^= 1;
      await output.write(name, bytes);
    },
  };
  await expect(exportAdapter(checkpoint, damaging)).rejects.toThrow("does not read back");
});

/** Notes the most that is read, or taken to be written, at once. */
function watched(folder: Folder, largest: { bytes: number }): Folder {
  const note = <T extends string | Uint8Array>(bytes: T): T => {
    largest.bytes = Math.max(largest.bytes, bytes.length);
    return bytes;
  };
  async function* noted(pieces: AsyncIterable<Uint8Array>) {
    for await (const piece of pieces) yield note(piece);
  }
  return {
    ...folder,
    read: async (...range) => note(await folder.read(...range)),
    write: (name, content) =>
      typeof content === "string" || content instanceof Uint8Array
        ? folder.write(name, note(content))
        : folder.write(name, noted(content)),
  };
}

function writeLargeAdapter(): string {
  const path = temporaryFolder();
  const matrices = { a: new Float32Array(8 * 100_003).fill(1), b: new Float32Array(8 * 181_001) };
  const path0 = "model.layers.0.mlp.up_proj";
  const targets = [{ path: path0, rank: 8, alpha: 8, scaling: 1 }];
  writeFileSync(
    join(path, "adapter_model.safetensors"),
    encodeMatrices(new Map([[path0, matrices]]), targets),
  );
  writeFileSync(join(path, "adapter_config.json"), "{}");
  return path;
}

test.each([
  { weights: "original", quantization: "none" },
  { weights: "nf4", quantization: "nf4" },
] as const)(
  "merged into the $weights weights in f32: the distribution is that of base and adapter",
  async ({ weights, quantization }) => {
    const output = temporaryFolder();
    await mergeInto(output, { dtype: "float32", base: weights });
    const merged = await logitsOf(output, { quantization: "none" });
    const expected = await logitsOf(base, { quantization, adapter: adapterFolder });
    expect(largestDivergence(expected, merged)).toBeLessThan(1e-4);
    expect(largestDivergence(await logitsOf(base, { quantization }), merged)).toBeGreaterThan(1e-2);
  },
);

test("by default merged weights keep each tensor's type, and are split by size with an index", async () => {
  const output = temporaryFolder();
  const { files, check } = await mergeInto(output, { maxShardBytes: 100_000 });
  expect(check).toContain("read back equal");
  const names = files.map(({ name }) => name);
  // 295 kB of embeddings, above the limit and so alone, and 148 kB of layers.
  expect(names.filter((name) => name.endsWith(".safetensors"))).toEqual(
    [1, 2, 3].map((i) => `model-0000${i}-of-00003.safetensors`),
  );
  expect(names).toContain("model.safetensors.index.json");
  expect(names).toContain("tokenizer.json");
  expect(names).toContain("training_manifest.json");
  const { tensors } = (await openModelFolder(openFolder(output))).files;
  expect(new Set([...tensors.values()].map(({ dtype }) => dtype))).toEqual(new Set(["BF16"]));
  const merged = await logitsOf(output, { quantization: "none" });
  const expected = await logitsOf(base, { quantization: "none", adapter: adapterFolder });
  // bf16 keeps 8 bits of each weight.
  expect(largestDivergence(expected, merged)).toBeLessThan(1e-2);
});

test("where training saw NF4, all of it is merged: maps without an adapter, and no head", async () => {
  const untied = writeTinyModel("BF16", false);
  const adapter = await writeAdapter(untied, undefined, ["q_proj", "lm_head"]);
  const output = temporaryFolder();
  await merge(gpu, {
    model: openFolder(untied),
    adapter: openFolder(adapter),
    output: openFolder(output),
    dtype: "float32",
    base: "nf4",
  });
  const merged = await logitsOf(output, { quantization: "none" });
  const expected = await logitsOf(untied, { quantization: "nf4", adapter });
  expect(largestDivergence(expected, merged)).toBeLessThan(1e-4);
});

test("an adapter of some layers alone is read back as that", async () => {
  const names = ["layers.0.self_attn.q_proj", "layers.1.mlp.down_proj"];
  const adapter = await writeAdapter(base, undefined, names);
  const opened = await openModelFolder(openFolder(base));
  const { targets } = await readAdapterFolder(openFolder(adapter), opened);
  expect(targets.map(({ path }) => path)).toEqual(names.map((name) => `model.${name}`));
});

test("merged again as one file, the index of an earlier merge is not left behind", async () => {
  const output = temporaryFolder();
  await mergeInto(output, { maxShardBytes: 100_000 });
  const { files } = await mergeInto(output, {});
  expect(files.map(({ name }) => name)).not.toContain("model.safetensors.index.json");
});

test("an adapter of a head that is one with the embeddings is not merged", async () => {
  const adapter = await writeAdapter(base, undefined, ["q_proj", "lm_head"]);
  await expect(
    merge(gpu, {
      model: openFolder(base),
      adapter: openFolder(adapter),
      output: openFolder(temporaryFolder()),
    }),
  ).rejects.toThrow("embeddings and head are one tensor");
});

test("merging holds no more than two of its largest tensors and 200 MB", async () => {
  const LARGEST = 128 * 2 ** 20;
  const wide = writeWideModel(LARGEST);
  const adapter = await writeAdapter(wide);
  global.gc?.();
  const before = process.memoryUsage().rss;
  let peak = before;
  const timer = setInterval(() => (peak = Math.max(peak, process.memoryUsage().rss)), 5);
  await merge(gpu, {
    model: openFolder(wide),
    adapter: openFolder(adapter),
    output: openFolder(temporaryFolder()),
    onProgress: () => (peak = Math.max(peak, process.memoryUsage().rss)),
  });
  clearInterval(timer);
  expect(peak - before).toBeLessThan(2 * LARGEST + 200e6);
});

test("an adapter with numbers that are not finite is not merged, and nothing is written", async () => {
  const broken = await writeAdapter(base, Number.NaN);
  const output = temporaryFolder();
  await expect(
    merge(gpu, {
      model: openFolder(base),
      adapter: openFolder(broken),
      output: openFolder(output),
    }),
  ).rejects.toThrow("holds numbers that are not finite");
  expect(await openFolder(output).list()).toEqual([]);
});

function mergeInto(
  output: string,
  options: Partial<Parameters<typeof merge>[1]>,
): ReturnType<typeof merge> {
  return merge(gpu, {
    model: openFolder(base),
    adapter: openFolder(adapterFolder),
    output: openFolder(output),
    ...options,
  });
}

async function logitsOf(
  path: string,
  { quantization, adapter }: { quantization: "nf4" | "none"; adapter?: string },
): Promise<Float32Array> {
  const opened = await openModelFolder(openFolder(path));
  const files =
    adapter === undefined ? undefined : await readAdapterFolder(openFolder(adapter), opened);
  const model = await loadModel(gpu, opened, {
    quantization,
    computeDtype: "f32",
    positions: TOKENS,
    ...(files && { targets: files.targets }),
  });
  if (files) model.adapter!.write(files.matrices);
  const { program, logits } = await buildLogitsProgram(model, uploadBatch(gpu, batch));
  program.run();
  const values = await readF32(gpu, logits);
  freeModel(model);
  return values;
}

/** The largest KL divergence of any position's distribution, in nats. */
function largestDivergence(expected: Float32Array, actual: Float32Array): number {
  const vocab = expected.length / TOKENS;
  let worst = 0;
  for (let row = 0; row < TOKENS; row++) {
    const p = logProbabilities(expected.subarray(row * vocab, (row + 1) * vocab));
    const q = logProbabilities(actual.subarray(row * vocab, (row + 1) * vocab));
    const divergence = p.reduce((sum, logP, i) => sum + Math.exp(logP) * (logP - q[i]!), 0);
    worst = Math.max(worst, divergence);
  }
  return worst;
}

function logProbabilities(logits: Float32Array): Float64Array {
  const max = Math.max(...logits);
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - max), 0);
  return Float64Array.from(logits, (logit) => logit - max - Math.log(sum));
}

/** A PEFT folder with random A and B for all linear layers, or with `fill` in one place. */
async function writeAdapter(
  modelPath: string,
  fill?: number,
  targetModules: "all-linear" | string[] = "all-linear",
): Promise<string> {
  const path = temporaryFolder();
  const opened = await openModelFolder(openFolder(modelPath));
  const linears = allLinears(opened.architecture);
  const adapterConfig = { ...ADAPTER_DEFAULTS, rank: 4, alpha: 8, targetModules };
  const targets = selectTargets(adapterConfig, modulesOf(linears), "the test");
  const matrices = new Map<string, LoraMatrices>();
  const numbers = createRandom(11);
  for (const { inputs, segments } of linears) {
    for (const { path: module, rows } of segments) {
      const make = (count: number) =>
        Float32Array.from({ length: count }, () => 0.2 * numbers.normal());
      const a = make(4 * inputs);
      if (fill !== undefined) a[3] = fill;
      matrices.set(module, { a, b: make(rows * 4) });
    }
  }
  writeFileSync(join(path, "adapter_model.safetensors"), encodeMatrices(matrices, targets));
  const companions = adapterCompanions({
    config: parseConfig({ model: modelPath, data: ["none"] }, "the test"),
    chosen: chooseTemplate("auto", opened),
    opened,
    adapterConfig,
    targets,
  });
  for (const [name, text] of companions) writeFileSync(join(path, name), text);
  return path;
}

/** The tiny model with an embedding of `bytes` bytes: zeros, in a file with a hole. */
function writeWideModel(bytes: number): string {
  const path = writeTinyModel("BF16");
  const config = JSON.parse(readFileSync(join(path, "config.json"), "utf8")) as {
    hidden_size: number;
  };
  const vocab = bytes / 2 / config.hidden_size;
  writeFileSync(join(path, "config.json"), JSON.stringify({ ...config, vocab_size: vocab }));
  const file = join(path, "model.safetensors");
  const old = readFileSync(file);
  const headerBytes = Number(old.readBigUInt64LE(0));
  const header = JSON.parse(old.subarray(8, 8 + headerBytes).toString()) as Record<
    string,
    { shape: number[] }
  >;
  delete header["__metadata__"];
  const tensors = Object.entries(header).map(([name, { shape }]) => ({
    name,
    dtype: "BF16" as const,
    shape: name === "model.embed_tokens.weight" ? [vocab, config.hidden_size] : shape,
  }));
  const fresh = safetensorsHeader(tensors, { format: "pt" });
  const total = tensors.reduce(
    (sum, { shape }) => sum + 2 * shape.reduce((product, size) => product * size, 1),
    fresh.length,
  );
  const handle = openSync(file, "w");
  writeSync(handle, fresh);
  ftruncateSync(handle, total);
  closeSync(handle);
  return path;
}
