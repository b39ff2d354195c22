// The two tiny models of test/fixtures/torch on a GPU, with their adapters and batches.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Gpu } from "../../src/gpu/device.ts";
import { StepScalars } from "../../src/gpu/step-scalars.ts";
import { Workspace } from "../../src/gpu/workspace.ts";
import { openFolder } from "../../src/hosts/node.ts";
import { Adapter } from "../../src/model/adapter.ts";
import { type AdapterFiles, readAdapterFolder } from "../../src/model/files/adapter-files.ts";
import { allocateBatch, type BatchTensors, writeBatch } from "../../src/model/batch.ts";
import { parseArchitecture } from "../../src/model/architecture.ts";
import { openModelFiles } from "../../src/model/files/checkpoint-files.ts";
import { allLinears } from "../../src/model/linears.ts";
import type { Model } from "../../src/model/transformer.ts";
import { loadWeights } from "../../src/model/weights.ts";
import type { MicroBatch } from "../../src/train/step.ts";

const FIXTURES = fileURLToPath(new URL("../fixtures/torch/", import.meta.url));

export interface TinyOptions {
  readonly quantization: "nf4" | "none";
  readonly act: "f32" | "f16";
  /** Folder of the adapter, inside test/fixtures/torch. */
  readonly adapter: string;
}

export async function loadTiny(
  gpu: Gpu,
  name: "tiny-llama" | "tiny-llama3",
  { quantization, act, adapter: adapterPath }: TinyOptions,
): Promise<Model & { adapter: Adapter; adapterFiles: AdapterFiles }> {
  const folder = openFolder(FIXTURES + name);
  const architecture = parseArchitecture(await folder.readText("config.json"), name);
  const files = await openModelFiles(folder);
  const weights = await loadWeights(gpu, architecture, files, {
    quantization,
    doubleQuant: true,
    positions: 256,
  });
  const linears = allLinears(architecture);
  const adapterFiles = await readAdapterFolder(openFolder(FIXTURES + adapterPath), {
    architecture,
    files,
  });
  const adapter = new Adapter(gpu, linears, adapterFiles.targets, true);
  adapter.write(adapterFiles.matrices);
  const workspace = new Workspace(gpu);
  const step = new StepScalars(gpu);
  return { gpu, architecture, weights, adapter, adapterFiles, act, workspace, step };
}

/** inputs.json of the fixtures, or one like it. */
export interface BatchJson {
  ids: number[];
  targets: number[];
  positions: number[];
  segmentStart: number[];
}

export function microBatchOf(json: BatchJson): MicroBatch {
  return {
    ids: Uint32Array.from(json.ids),
    targets: Uint32Array.from(json.targets),
    positions: Uint32Array.from(json.positions),
    segmentStart: Uint32Array.from(json.segmentStart),
    labelTokens: json.targets.filter((target) => target !== 0xffff_ffff).length,
    tokens: json.ids.length,
  };
}

/** The JSON of a fixture; the caller says what is in it. */
export function readFixture(path: string): unknown {
  return JSON.parse(readFileSync(FIXTURES + path, "utf8"));
}

export function uploadBatch(gpu: Gpu, batch: MicroBatch): BatchTensors {
  const tensors = allocateBatch(gpu, batch.ids.length);
  writeBatch(gpu, tensors, batch);
  return tensors;
}

/** |actual − expected| at its largest, as a share of the largest |expected|. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let worst = 0;
  let largest = 0;
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs((actual[i] ?? Number.NaN) - (expected[i] ?? Number.NaN));
    if (Number.isNaN(difference)) return Number.NaN;
    worst = Math.max(worst, difference);
    largest = Math.max(largest, Math.abs(expected[i] ?? 0));
  }
  return worst / largest;
}
