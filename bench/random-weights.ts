// Weights of a model's shape that are random and lie as loaded ones do: NF4 maps, bf16 tables, f32 norms.
//
// Random rather than empty, since a GPU that multiplies zeros draws less power and clocks higher.
import type { Gpu } from "../src/gpu/device.ts";
import { foldGrid, type Shader, workgroups } from "../src/gpu/kernel.ts";
import { Recorder } from "../src/gpu/program.ts";
import { StepScalars } from "../src/gpu/step-scalars.ts";
import { type StoredTensor, write } from "../src/gpu/tensor.ts";
import { Workspace } from "../src/gpu/workspace.ts";
import { ropeTable } from "../src/kernels/rope.ts";
import type { Architecture } from "../src/model/architecture.ts";
import { blockLinears, type LinearShape } from "../src/model/linears.ts";
import { shardRows } from "../src/model/weight-loader.ts";
import type { BlockWeights, TableShard, Weights } from "../src/model/weights.ts";
import gridLib from "../shaders/lib/grid.wgsl?raw";
import randomShader from "./random.wgsl?raw";

const shader: Shader<"out", "count" | "seed" | "low" | "high"> = {
  label: "random",
  source: [gridLib, randomShader],
  bindings: { out: "read_write" },
  params: { count: "u32", seed: "u32", low: "f32", high: "f32" },
};

/** NF4's values have a mean square of 0.3 of their scale's: with these, outputs are as large as inputs. */
const SCALES = [0.02, 0.06] as const;

export interface RandomWeightsOptions {
  /** All layers share one layer's weights, and the head the embedding's: where memory is short. */
  readonly sharesLayers?: boolean;
}

/** Allocates and fills weights. On the null backend they stay empty. */
export async function makeRandomWeights(
  gpu: Gpu,
  architecture: Architecture,
  positions: number,
  { sharesLayers = false }: RandomWeightsOptions = {},
): Promise<Weights> {
  const { hidden, layers, hasTiedEmbeddings, ropes } = architecture;
  const filler = new Filler(gpu);
  try {
    const embedding = tableOf(filler, architecture, "embedding");
    const head =
      hasTiedEmbeddings || sharesLayers ? embedding : tableOf(filler, architecture, "head");
    const first = blockOf(filler, architecture, 0);
    const blocks = Array.from({ length: layers }, (_, layer) =>
      layer === 0 || sharesLayers ? first : blockOf(filler, architecture, layer),
    );
    const finalNorm = filler.floats("norm", [hidden], 0.9, 1.1);
    await filler.run();
    const ropeTables = ropes.map(({ rotaryDims, anglesFor }, index) => {
      const table = filler.allocate(`rope.${index}`, "f32", [positions, rotaryDims]);
      const { inverseFrequencies, scale } = anglesFor(positions);
      write(gpu, table, ropeTable(inverseFrequencies, positions, scale));
      return table;
    });
    await gpu.finish();
    return { embedding, head, finalNorm, blocks, ropeTables, tensors: filler.tensors };
  } catch (error) {
    for (const tensor of filler.tensors) gpu.free(tensor);
    throw error;
  } finally {
    filler.free();
  }
}

function tableOf(filler: Filler, { vocab, hidden }: Architecture, label: string): TableShard[] {
  const limit = shardRows(filler.gpu, hidden * 2);
  return Array.from({ length: Math.ceil(vocab / limit) }, (_, index): TableShard => {
    const firstRow = index * limit;
    const rows = Math.min(limit, vocab - firstRow);
    const tensor = filler.halves(`${label}.${index}`, [rows, hidden / 2], 0.035);
    return { tensor, encoding: "bf16", firstRow, rows };
  });
}

function blockOf(filler: Filler, architecture: Architecture, layer: number): BlockWeights {
  const { hidden, headSize, family } = architecture;
  const { norms } = family;
  const norm = (name: string, size = hidden) =>
    filler.floats(`layers.${layer}.${name}`, [size], 0.9, 1.1);
  const optional = (name: string | undefined, size = hidden) =>
    name === undefined ? undefined : norm(name, size);
  const { qkv, attentionOut, gateUp, down } = blockLinears(architecture, layer);
  const linear = ({ label, outputs, inputs, hasBias }: LinearShape) => ({
    weight: {
      codes: filler.codes(`${label}.codes`, [(outputs * inputs) / 8]),
      absmax: filler.floats(`${label}.absmax`, [(outputs * inputs) / 64], ...SCALES),
      shape: [outputs, inputs] as const,
    },
    bias: hasBias ? filler.floats(`${label}.bias`, [outputs], -0.1, 0.1) : undefined,
  });
  return {
    norms: {
      attention: norm(norms.attention),
      mlp: norm(norms.mlp),
      postAttention: optional(norms.postAttention),
      postMlp: optional(norms.postMlp),
      query: optional(norms.query, headSize),
      key: optional(norms.key, headSize),
    },
    linears: {
      qkv: linear(qkv),
      attentionOut: linear(attentionOut),
      gateUp: linear(gateUp),
      down: linear(down),
    },
  };
}

/** Allocates tensors, and fills all of them in one run. */
class Filler {
  readonly gpu: Gpu;
  readonly tensors: StoredTensor[] = [];
  readonly #step: StepScalars;
  readonly #workspace: Workspace;
  readonly #recorder: Recorder;

  constructor(gpu: Gpu) {
    this.gpu = gpu;
    this.#step = new StepScalars(gpu);
    this.#workspace = new Workspace(gpu);
    this.#recorder = new Recorder(gpu, "random-weights", this.#workspace, this.#step);
  }

  allocate(label: string, dtype: "f32" | "u32", shape: readonly number[]): StoredTensor {
    const tensor = this.gpu.allocate(label, dtype, shape);
    this.tensors.push(tensor);
    return tensor;
  }

  /** u32 of random bits. */
  codes(label: string, shape: readonly number[]): StoredTensor {
    return this.#fill("codes", this.allocate(label, "u32", shape), 0, 0);
  }

  /** u32 of two bf16 each, in ±`range`. */
  halves(label: string, shape: readonly number[], range: number): StoredTensor {
    return this.#fill("halves", this.allocate(label, "u32", shape), -range, range);
  }

  floats(label: string, shape: readonly number[], low: number, high: number): StoredTensor {
    return this.#fill("floats", this.allocate(label, "f32", shape), low, high);
  }

  async run(): Promise<void> {
    const program = await this.#recorder.build();
    program.run();
    await this.gpu.finish();
    program.free();
  }

  free(): void {
    this.#step.free();
    this.#workspace.free();
  }

  #fill(entry: string, out: StoredTensor, low: number, high: number): StoredTensor {
    const count = out.bytes / 16;
    this.#recorder.dispatch(shader, {
      entry,
      buffers: { out },
      params: { count, seed: this.tensors.length, low, high },
      grid: foldGrid(workgroups(count, 64)),
    });
    return out;
  }
}
