// The tiny models of test/fixtures/families: their weights made from names, as make_family_fixtures.py does.
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { AdapterTarget } from "../../src/formats/peft.ts";
import type { Gpu } from "../../src/gpu/device.ts";
import { StepScalars } from "../../src/gpu/step-scalars.ts";
import { Workspace } from "../../src/gpu/workspace.ts";
import { Adapter, type LoraMatrices } from "../../src/model/adapter.ts";
import { type Architecture, readArchitecture } from "../../src/model/architecture.ts";
import type { ModelFiles, SourceTensor } from "../../src/model/files/checkpoint-files.ts";
import { allLinears } from "../../src/model/linears.ts";
import type { Model } from "../../src/model/transformer.ts";
import { loadWeights } from "../../src/model/weights.ts";
import type { MicroBatch } from "../../src/train/step.ts";

const FIXTURES = fileURLToPath(new URL("../fixtures/families/", import.meta.url));

export const FAMILY_NAMES = readdirSync(FIXTURES)
  .filter((file) => file.endsWith(".json"))
  .map((file) => file.slice(0, -".json".length));

/** As make_family_fixtures.py writes it; arrays of numbers are base64 of little-endian f32. */
interface Fixture {
  config: Record<string, unknown> & { vocab_size: number };
  rank: number;
  alpha: number;
  tensors: { name: string; shape: number[]; scale: number; offset: number }[];
  documents: number[];
  ids: number[];
  targets: number[];
  loss: number;
  logits: string;
  gradients: Record<string, string>;
}

export interface FamilyFixture {
  readonly config: Fixture["config"];
  readonly files: ModelFiles;
  readonly targets: readonly AdapterTarget[];
  readonly matrices: ReadonlyMap<string, LoraMatrices>;
  readonly batch: MicroBatch;
  readonly loss: number;
  /** [tokens, vocab] */
  readonly logits: Float32Array;
  /** By module path. */
  readonly gradients: ReadonlyMap<string, LoraMatrices>;
}

export function readFamily(name: string): FamilyFixture {
  const fixture = JSON.parse(readFileSync(`${FIXTURES}${name}.json`, "utf8")) as Fixture;
  const { rank, alpha } = fixture;
  const tensors = fixture.tensors.map((tensor): [string, SourceTensor] => [
    tensor.name,
    tensorOf(tensor.name, tensor.shape, made(tensor)),
  ]);
  const totalBytes = tensors.reduce((sum, [, { shape }]) => sum + 4 * sizeOf(shape), 0);
  const shapes = new Map(fixture.tensors.map(({ name: path, shape }) => [path, shape]));
  const paths = Object.keys(fixture.gradients)
    .filter((path) => path.endsWith(".lora_A"))
    .map((path) => path.slice(0, -".lora_A".length));
  const loraScale = 0.25;
  const matrices = paths.map((path): [string, LoraMatrices] => {
    const [rows = 0, columns = 0] = shapes.get(`${path}.weight`) ?? [];
    const lora = (part: string, shape: number[]) =>
      made({ name: `${path}.${part}`, shape, scale: loraScale, offset: 0 });
    return [path, { a: lora("lora_A", [rank, columns]), b: lora("lora_B", [rows, rank]) }];
  });
  const gradients = paths.map((path): [string, LoraMatrices] => [
    path,
    {
      a: floatsOf(fixture.gradients[`${path}.lora_A`]!),
      b: floatsOf(fixture.gradients[`${path}.lora_B`]!),
    },
  ]);
  return {
    config: fixture.config,
    files: { path: name, tensors: new Map(tensors), totalBytes },
    targets: paths.map((path) => ({ path, rank, scaling: alpha / rank }) as AdapterTarget),
    matrices: new Map(matrices),
    batch: batchOf(fixture.ids, fixture.documents, fixture.targets),
    loss: fixture.loss,
    logits: floatsOf(fixture.logits),
    gradients: new Map(gradients),
  };
}

export function batchOf(ids: number[], documents: number[], targets?: number[]): MicroBatch {
  const starts = documents.map((_, i) => documents.slice(0, i).reduce((sum, n) => sum + n, 0));
  const perToken = documents.flatMap((length, i) => Array<number>(length).fill(starts[i]!));
  const wanted = targets ?? ids.map(() => 0xffff_ffff);
  return {
    ids: Uint32Array.from(ids),
    targets: Uint32Array.from(wanted),
    positions: Uint32Array.from(perToken, (start, i) => i - start),
    segmentStart: Uint32Array.from(perToken),
    labelTokens: wanted.filter((target) => target !== 0xffff_ffff).length,
    tokens: ids.length,
  };
}

export function architectureOf({ config }: FamilyFixture): Architecture {
  return readArchitecture(config, "config.json");
}

export async function loadFamily(
  gpu: Gpu,
  fixture: FamilyFixture,
  options: {
    quantization?: "nf4" | "none";
    act?: "f32" | "f16";
    positions: number;
    contextTokens?: number;
    adapted?: boolean;
    files?: ModelFiles;
  },
): Promise<Model> {
  const { quantization = "none", act = "f32", positions, adapted = true } = options;
  const architecture = architectureOf(fixture);
  const weights = await loadWeights(gpu, architecture, options.files ?? fixture.files, {
    quantization,
    doubleQuant: true,
    positions,
    contextTokens: options.contextTokens,
  });
  const adapter = adapted
    ? new Adapter(gpu, allLinears(architecture), fixture.targets, true)
    : undefined;
  adapter?.write(fixture.matrices);
  const workspace = new Workspace(gpu);
  return { gpu, architecture, weights, adapter, act, workspace, step: new StepScalars(gpu) };
}

/** A hash of a name and an index as a number in [−1/2, 1/2), scaled. */
function made({ name, shape, scale, offset }: Fixture["tensors"][number]): Float32Array {
  let seed = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name)) seed = Math.imul(seed ^ byte, 0x01000193);
  return Float32Array.from({ length: sizeOf(shape) }, (_, i) => {
    let x = (Math.imul(i, 0x9e3779b1) + seed) >>> 0;
    for (let round = 0; round < 2; round++) x = Math.imul(x ^ (x >>> 16), 0x45d9f3b) >>> 0;
    x = (x ^ (x >>> 16)) >>> 0;
    return ((x >>> 8) / 2 ** 24 - 0.5) * scale + offset;
  });
}

function tensorOf(name: string, shape: number[], values: Float32Array): SourceTensor {
  const place = "memory";
  const read = async (start: number, end: number) =>
    new Uint8Array(values.slice(start, end).buffer);
  return { name, shape, dtype: "F32", place, read };
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

function floatsOf(base64: string): Float32Array {
  const bytes = Uint8Array.from(Buffer.from(base64, "base64"));
  return new Float32Array(bytes.buffer);
}
