// Hone's side of the comparison of one decoder block: forward and backward in f32, recorded as training
// records it, with a frozen f32 base and LoRA on every linear map.
import { ADAPTER_DEFAULTS, selectTargets } from "../../../src/formats/peft.ts";
import type { Gpu } from "../../../src/gpu/device.ts";
import { type Program, Recorder } from "../../../src/gpu/program.ts";
import { StepScalars } from "../../../src/gpu/step-scalars.ts";
import { elementCount, readF32, type StoredTensor, write } from "../../../src/gpu/tensor.ts";
import { Workspace } from "../../../src/gpu/workspace.ts";
import { ropeTable } from "../../../src/kernels/rope.ts";
import { modulesOf } from "../../../src/model/files/adapter-files.ts";
import { Adapter, type LoraMatrices } from "../../../src/model/adapter.ts";
import { parseArchitecture } from "../../../src/model/architecture.ts";
import { recordBlockBackward } from "../../../src/model/block-backward.ts";
import { recordBlock, sequenceParts } from "../../../src/model/block.ts";
import type { LinearName } from "../../../src/model/families.ts";
import { blockLinears } from "../../../src/model/linears.ts";
import { blocksOf } from "../../../src/model/transformer.ts";
import { type Taken, timed } from "../measure.ts";
import { uniform } from "../numbers.ts";

export interface BlockSizes {
  readonly tokens: number;
  readonly hidden: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  readonly intermediate: number;
  readonly rank: number;
}

/** The modules of a Llama block, in the order of the fused maps' rows. */
const MODULES: Readonly<Record<LinearName, readonly string[]>> = {
  qkv: ["q", "k", "v"],
  attentionOut: ["o"],
  gateUp: ["gate", "up"],
  down: ["down"],
};
const THETA = 10_000;
const EPSILON = 1e-6;

/** The numbers of a block, by module. */
export interface BlockNumbers {
  readonly x: Float32Array<ArrayBuffer>;
  /** Gradient of the block's output. */
  readonly dy: Float32Array<ArrayBuffer>;
  readonly attentionNorm: Float32Array<ArrayBuffer>;
  readonly mlpNorm: Float32Array<ArrayBuffer>;
  readonly modules: ReadonlyMap<string, ModuleNumbers>;
  /** Cosines and sines, [tokens, headSize / 2] each. */
  readonly cos: Float32Array<ArrayBuffer>;
  readonly sin: Float32Array<ArrayBuffer>;
  readonly epsilon: number;
  /** α / r. */
  readonly scale: number;
}

interface ModuleNumbers extends LoraMatrices {
  readonly outputs: number;
  readonly inputs: number;
  /** [outputs, inputs] */
  readonly weight: Float32Array<ArrayBuffer>;
}

export function makeBlock(sizes: BlockSizes): BlockNumbers {
  const { tokens, hidden, heads, kvHeads, headSize, intermediate, rank } = sizes;
  const shapes: [name: string, outputs: number, inputs: number][] = [
    ["q", heads * headSize, hidden],
    ["k", kvHeads * headSize, hidden],
    ["v", kvHeads * headSize, hidden],
    ["o", hidden, heads * headSize],
    ["gate", intermediate, hidden],
    ["up", intermediate, hidden],
    ["down", hidden, intermediate],
  ];
  const modules = shapes.map(([name, outputs, inputs], index) => {
    const seed = 10 * (index + 1);
    return [
      name,
      {
        outputs,
        inputs,
        weight: uniform(outputs * inputs, Math.sqrt(3 / inputs), seed),
        a: uniform(rank * inputs, Math.sqrt(3 / inputs), seed + 1),
        b: uniform(outputs * rank, 0.1, seed + 2),
      },
    ] as const;
  });
  const table = ropeTable(inverseFrequencies(headSize), tokens);
  const half = headSize / 2;
  const part = (from: number) =>
    Float32Array.from(
      { length: tokens * half },
      (_, i) => table[Math.floor(i / half) * headSize + from + (i % half)] ?? 0,
    );
  const around1 = (seed: number) => uniform(hidden, 0.2, seed).map((value) => 1 + value);
  return {
    x: uniform(tokens * hidden, 1, 1),
    dy: uniform(tokens * hidden, 1, 2),
    attentionNorm: around1(3),
    mlpNorm: around1(4),
    modules: new Map(modules),
    cos: part(0),
    sin: part(half),
    epsilon: EPSILON,
    scale: 2,
  };
}

function inverseFrequencies(headSize: number): number[] {
  return Array.from({ length: headSize / 2 }, (_, i) => THETA ** ((-2 * i) / headSize));
}

/** What a run leaves behind: dx, and the gradients of "q.a", "q.b" and so on. */
export interface BlockGradients {
  readonly dx: Float32Array;
  readonly gradients: Readonly<Record<string, Float32Array>>;
}

export class OurBlock {
  readonly #gpu: Gpu;
  readonly #numbers: BlockNumbers;
  readonly #program: Program;
  readonly #x: StoredTensor;
  /** Comes in as dy, goes out as dx. */
  readonly #dResidual: StoredTensor;
  readonly #adapter: Adapter;
  readonly #free: () => void;
  #dx: Float32Array = new Float32Array();

  private constructor(
    gpu: Gpu,
    numbers: BlockNumbers,
    parts: {
      program: Program;
      x: StoredTensor;
      dResidual: StoredTensor;
      adapter: Adapter;
      free: () => void;
    },
  ) {
    this.#gpu = gpu;
    this.#numbers = numbers;
    this.#program = parts.program;
    this.#x = parts.x;
    this.#dResidual = parts.dResidual;
    this.#adapter = parts.adapter;
    this.#free = parts.free;
  }

  static async create(gpu: Gpu, sizes: BlockSizes, numbers: BlockNumbers): Promise<OurBlock> {
    const { tokens, hidden, headSize } = sizes;
    const tensors: StoredTensor[] = [];
    const upload = (label: string, shape: readonly number[], data: Float32Array<ArrayBuffer>) => {
      const tensor = gpu.allocate(label, "f32", shape);
      tensors.push(tensor);
      write(gpu, tensor, data);
      return tensor;
    };
    const architecture = parseArchitecture(configOf(sizes), "the comparison");
    const linears = Object.values(blockLinears(architecture, 0));
    const adapter = makeAdapter(gpu, sizes, linears, numbers);
    const frozen = (map: LinearName) => {
      const { inputs, outputs } = blockLinears(architecture, 0)[map];
      const modules = MODULES[map].map((name) => numbers.modules.get(name));
      const rows = modules.flatMap((module) => [...(module?.weight ?? [])]);
      const tensor = upload(map, [outputs, inputs], Float32Array.from(rows));
      const weight = { tensor, shape: [outputs, inputs] as const, kind: "native" as const };
      return { weight, bias: undefined };
    };
    const norm = (label: string, data: Float32Array<ArrayBuffer>) => upload(label, [hidden], data);
    const none = { postAttention: undefined, postMlp: undefined, query: undefined, key: undefined };
    const norms = {
      ...none,
      attention: norm("attention", numbers.attentionNorm),
      mlp: norm("mlp", numbers.mlpNorm),
    };
    const table = ropeTable(inverseFrequencies(headSize), tokens);
    const ropeTables = [upload("rope", [tokens, headSize], table)];
    const positions = gpu.allocate("positions", "u32", [tokens]);
    const segmentStart = gpu.allocate("segment_start", "u32", [tokens]);
    tensors.push(positions, segmentStart);
    write(
      gpu,
      positions,
      Uint32Array.from({ length: tokens }, (_, i) => i),
    );
    const x = upload("x", [tokens, hidden], numbers.x);
    const dResidual = upload("d_residual", [tokens, hidden], numbers.dy);

    const workspace = new Workspace(gpu);
    const step = new StepScalars(gpu);
    step.set({ lossWeight: 1, adapterScale: 1 });
    const weights = {
      embedding: [],
      head: [],
      finalNorm: norms.mlp,
      ropeTables,
      tensors,
      blocks: [
        {
          norms,
          linears: {
            qkv: frozen("qkv"),
            attentionOut: frozen("attentionOut"),
            gateUp: frozen("gateUp"),
            down: frozen("down"),
          },
        },
      ],
    };
    const model = { gpu, architecture, weights, adapter, act: "f32" as const, workspace, step };
    const recorder = new Recorder(gpu, "block", workspace, step);
    const recording = { recorder, act: "f32" as const, dropout: 0 };
    const inputs = { positions, segmentStart, ropeTables };
    for (const block of blocksOf(model)) {
      const out = recorder.transient("out", "f32", [tokens, hidden]);
      const parts = sequenceParts(recording, architecture, block, inputs);
      const kept = recordBlock(recording, architecture, block, parts, x, out);
      recordBlockBackward(recording, architecture, block, inputs, kept, dResidual, false);
    }
    const program = await recorder.build();
    const free = () => {
      program.free();
      workspace.free();
      step.free();
      adapter.free();
      for (const tensor of tensors) gpu.free(tensor);
    };
    return new OurBlock(gpu, numbers, { program, x, dResidual, adapter, free });
  }

  /** Starts the adapter's gradients anew, uploads x and dy, computes, and reads dx back. */
  run(): Promise<Taken> {
    return timed(async () => {
      for (const { training } of this.#adapter.banks) {
        if (!training) continue;
        const { gradients } = training;
        write(this.#gpu, gradients, new Float32Array(elementCount(gradients.shape)));
      }
      write(this.#gpu, this.#x, this.#numbers.x);
      write(this.#gpu, this.#dResidual, this.#numbers.dy);
      this.#program.run();
      this.#dx = await readF32(this.#gpu, this.#dResidual);
    });
  }

  /** Of the last run. */
  async result(): Promise<BlockGradients> {
    const matrices = await this.#adapter.read("gradients");
    const gradients: Record<string, Float32Array> = {};
    for (const [path, { a, b }] of matrices) {
      const name = moduleOf(path);
      gradients[`${name}.a`] = a;
      gradients[`${name}.b`] = b;
    }
    return { dx: this.#dx, gradients };
  }

  free(): void {
    this.#free();
  }
}

function makeAdapter(
  gpu: Gpu,
  { rank }: BlockSizes,
  linears: ReturnType<typeof blockLinears>[LinearName][],
  { modules, scale }: BlockNumbers,
): Adapter {
  const config = {
    ...ADAPTER_DEFAULTS,
    rank,
    alpha: scale * rank,
    targetModules: "all-linear",
  };
  const targets = selectTargets(config, modulesOf(linears), "the comparison");
  const adapter = new Adapter(gpu, linears, targets, true);
  const matrices = new Map<string, LoraMatrices>();
  for (const { path } of targets) {
    const module = modules.get(moduleOf(path));
    if (module) matrices.set(path, module);
  }
  adapter.write(matrices);
  return adapter;
}

/** "model.layers.0.self_attn.q_proj" → "q". */
function moduleOf(path: string): string {
  return path.split(".").at(-1)?.replace("_proj", "") ?? path;
}

function configOf(sizes: BlockSizes): string {
  return JSON.stringify({
    model_type: "llama",
    architectures: ["LlamaForCausalLM"],
    hidden_size: sizes.hidden,
    num_attention_heads: sizes.heads,
    num_key_value_heads: sizes.kvHeads,
    head_dim: sizes.headSize,
    num_hidden_layers: 1,
    intermediate_size: sizes.intermediate,
    vocab_size: 64,
    rms_norm_eps: EPSILON,
    rope_theta: THETA,
    max_position_embeddings: sizes.tokens,
    hidden_act: "silu",
  });
}
