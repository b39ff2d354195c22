// A model with an adapter for training on it, and a made-up batch: the benchmark's subject.
import type { Folder } from "../src/base/folder.ts";
import { createRandom } from "../src/base/random.ts";
import { ADAPTER_DEFAULTS, selectTargets } from "../src/formats/peft.ts";
import type { Gpu } from "../src/gpu/device.ts";
import { StepScalars } from "../src/gpu/step-scalars.ts";
import type { StoredTensor } from "../src/gpu/tensor.ts";
import { Workspace } from "../src/gpu/workspace.ts";
import { Adapter } from "../src/model/adapter.ts";
import { modulesOf } from "../src/model/adapter-files.ts";
import { type Architecture, parseArchitecture } from "../src/model/architecture.ts";
import { openModelFiles } from "../src/model/checkpoint-files.ts";
import { allLinears, blockLinears, type LinearShape } from "../src/model/linears.ts";
import type { Model } from "../src/model/transformer.ts";
import { loadWeights, type Weights } from "../src/model/weights.ts";
import type { MicroBatch } from "../src/train/step.ts";

/** Weights of the right shapes with nothing in them: for the null backend, which could not quantize any. */
function allocateWeights(gpu: Gpu, architecture: Architecture, positions: number): Weights {
  const { hidden, vocab, layers, headSize } = architecture;
  const tensors: StoredTensor[] = [];
  const make = (label: string, dtype: "f32" | "u32", shape: number[]) => {
    const tensor = gpu.allocate(label, dtype, shape);
    tensors.push(tensor);
    return tensor;
  };
  const nf4 = ({ label, outputs, inputs, hasBias }: LinearShape) => ({
    weight: {
      codes: make(`${label}.codes`, "u32", [(outputs * inputs) / 8]),
      absmax: make(`${label}.absmax`, "f32", [(outputs * inputs) / 64]),
      shape: [outputs, inputs] as const,
    },
    bias: hasBias ? make(`${label}.bias`, "f32", [outputs]) : undefined,
  });
  const { norms } = architecture.family;
  const norm = (layer: number, name: string | undefined, size = hidden) =>
    name === undefined ? undefined : make(`${layer}.${name}`, "f32", [size]);
  const tensor = make("embedding", "u32", [vocab, hidden / 2]);
  const table = [{ tensor, encoding: "bf16", firstRow: 0, rows: vocab } as const];
  return {
    embedding: table,
    head: table,
    finalNorm: make("norm", "f32", [hidden]),
    ropeTables: architecture.ropes.map(({ rotaryDims }, index) =>
      make(`rope.${index}`, "f32", [positions, rotaryDims]),
    ),
    tensors,
    blocks: Array.from({ length: layers }, (_, layer) => {
      const { qkv, attentionOut, gateUp, down } = blockLinears(architecture, layer);
      return {
        norms: {
          attention: make(`${layer}.attention_norm`, "f32", [hidden]),
          mlp: make(`${layer}.mlp_norm`, "f32", [hidden]),
          postAttention: norm(layer, norms.postAttention),
          postMlp: norm(layer, norms.postMlp),
          query: norm(layer, norms.query, headSize),
          key: norm(layer, norms.key, headSize),
        },
        linears: {
          qkv: nf4(qkv),
          attentionOut: nf4(attentionOut),
          gateUp: nf4(gateUp),
          down: nf4(down),
        },
      };
    }),
  };
}

/**
 * NF4 base, r 16 on all linear maps, in f16 where the adapter has it. `onSlice` is called after every
 * slice of the weights is read.
 */
export async function prepareModel(
  gpu: Gpu,
  folder: Folder,
  tokens: number,
  onSlice?: () => void,
): Promise<Model> {
  const architecture = parseArchitecture(await folder.readText("config.json"), folder.path);
  const positions = tokens + 512;
  const isNull = gpu.info.device === "null-backend";
  const weights = isNull
    ? allocateWeights(gpu, architecture, positions)
    : await loadWeights(gpu, architecture, await openModelFiles(folder), {
        quantization: "nf4",
        doubleQuant: true,
        positions,
        onProgress: onSlice,
      });
  const linears = allLinears(architecture);
  const config = { ...ADAPTER_DEFAULTS, rank: 16, alpha: 32, targetModules: "all-linear" };
  const targets = selectTargets(config, modulesOf(linears), "the benchmark");
  const adapter = new Adapter(gpu, linears, targets, true);
  adapter.initialize(1);
  const act = gpu.hasF16 ? "f16" : "f32";
  const workspace = new Workspace(gpu);
  return { gpu, architecture, weights, adapter, act, workspace, step: new StepScalars(gpu) };
}

/** One document of random ids in which every token is learned. */
export function randomBatch(vocab: number, tokens: number): MicroBatch {
  const random = createRandom(1);
  const id = () => Math.floor(random.next() * vocab);
  return {
    ids: Uint32Array.from({ length: tokens }, id),
    targets: Uint32Array.from({ length: tokens }, id),
    positions: Uint32Array.from({ length: tokens }, (_, i) => i),
    segmentStart: new Uint32Array(tokens),
    labelTokens: tokens,
    tokens,
  };
}
