// The product of few rows with a frozen weight stored as numbers, one after another in memory: what the head
// of a model is for one token, and the maps of a model that is not quantized.
//
// Slot "gemv" names how many threads share a pair of outputs.
import { invariant } from "../base/error.ts";
import { foldGrid, type Shader, workgroups } from "../gpu/kernel.ts";
import type { Gpu } from "../gpu/device.ts";
import type { Recorder } from "../gpu/program.ts";
import { matrixShape, type StoredTensor, type Tensor } from "../gpu/tensor.ts";
import gateLib from "../../shaders/lib/gate.wgsl?raw";
import gemvLib from "../../shaders/lib/gemv.wgsl?raw";
import stepLib from "../../shaders/lib/step.wgsl?raw";
import shader from "../../shaders/gemv.wgsl?raw";
import { scaleParams } from "./adapter-operands.ts";
import type { GluActivation } from "./glu.ts";
import { forwardParams, type MatmulForward } from "./matmul-operands.ts";
import {
  checkMemory,
  type PlainWeight,
  quadType,
  type WeightKind,
  WIDEN_SOURCE,
} from "./weight.ts";
import { fillTrial } from "./trial.ts";
import type { Trial, TrialSizes, Tunable } from "./tunable.ts";

export const GEMV_SLOT = "gemv";

// A GPU reads a row of the weight with neighboring threads; a CPU runs threads one after the other.
const GPU_LANES = 16;
const CPU_LANES = 1;
export const GEMV_LANES: readonly number[] = [1, 8, 16, 32, 64];

/** Threads of a workgroup, as lib/gemv.wgsl has it. */
const THREADS = 64;

/** Around the shaders of both kinds of weight, which define how W is read. */
export const GEMV_SOURCES = [stepLib, gateLib, gemvLib] as const;

export const GEMV_PARAMS = {
  rows: "u32",
  inputs: "u32",
  outputs: "u32",
  x_row: "u32",
  y_row: "u32",
  y_column: "u32",
  y_stride: "u32",
  addend: "u32",
  rank: "u32",
  segments: "u32",
  end_0: "u32",
  end_1: "u32",
  end_2: "u32",
  has_bias: "u32",
  lanes: "u32",
  scaled_rank: "u32",
  scale_0: "f32",
  scale_1: "f32",
  scale_2: "f32",
  scale_3: "f32",
} as const;

/** Operands of a product with few rows of x. */
export interface GemvOperands extends Omit<MatmulForward, "weight" | "rope"> {
  /**
   * The outputs are those of a gate, then as many of what it gates, and y is act(gate) ∘ up, of half as many
   * columns. Without `residual` and `accumulate`.
   */
  readonly gate?: GluActivation | undefined;
  /** y is an adapter's h: `rank` columns a segment, each segment multiplied by its scale and the step's. */
  readonly scaled?: { readonly rank: number; readonly scales: readonly number[] } | undefined;
}

export interface Gemv extends GemvOperands {
  readonly weight: PlainWeight;
}

const bindings = {
  x: "read",
  weight: "read",
  unused: "read",
  h: "read",
  b: "read",
  y: "read_write",
  residual: "read",
  bias: "read",
} as const;

function shaderOf(kind: WeightKind): Shader<keyof typeof bindings, keyof typeof GEMV_PARAMS> {
  return {
    label: kind === "native" ? "gemv" : `gemv-${kind}`,
    source: [...GEMV_SOURCES, WIDEN_SOURCE[kind], shader],
    bindings,
    params: GEMV_PARAMS,
    usesStep: true,
  };
}

const shaders: Readonly<Record<WeightKind, ReturnType<typeof shaderOf>>> = {
  native: shaderOf("native"),
  "packed-f16": shaderOf("packed-f16"),
  "packed-bf16": shaderOf("packed-bf16"),
};

/** What `matmulForward` does, reading every weight once a row: for a token or a few. */
export function gemv(recorder: Recorder, call: Gemv): void {
  const { weight } = call;
  const { tensor, shape, kind } = weight;
  checkMemory("gemv", weight);
  const chosen = Number(recorder.choice(GEMV_SLOT));
  const lanes = call.scaled
    ? narrowLanes(recorder.gpu)
    : GEMV_LANES.includes(chosen)
      ? chosen
      : defaultLanes(recorder.gpu);
  const { params, constants, buffers, grid, flops } = gemvParts(call, shape, lanes);
  recorder.dispatch(shaders[kind], {
    entry: "forward",
    types: { In: call.x.dtype, Out: call.y.dtype, Quad: quadType(weight) },
    constants,
    buffers: { ...buffers, weight: tensor },
    params,
    grid,
    flops,
  });
}

/** Threads that share a pair of outputs where nothing was tried. */
export function defaultLanes({ info }: Gpu): number {
  return info.isFallbackAdapter ? CPU_LANES : GPU_LANES;
}

/** As `defaultLanes`, where outputs are too few to fill a GPU. */
function narrowLanes({ info }: Gpu): number {
  return info.isFallbackAdapter ? CPU_LANES : THREADS;
}

/** Checks the operands; all of a dispatch but what is the weight's. */
export function gemvParts(
  call: GemvOperands,
  shape: readonly [outputs: number, inputs: number],
  lanes: number,
) {
  const { x, y, lora, residual, bias, gate, scaled } = call;
  const params = gate ? gatedParams(call, shape) : forwardParams(call, shape);
  const { rows, inputs, outputs, rank } = params;
  const [across, folds] = foldGrid(workgroups(Math.ceil(outputs / 2), THREADS / lanes));
  return {
    params: { ...params, lanes, scaled_rank: scaled?.rank ?? 1, ...scaleParams(scaled?.scales) },
    constants: {
      HAS_LORA: lora !== undefined,
      GATED: gate !== undefined,
      GELU: gate === "gelu_tanh",
      SCALED: scaled !== undefined,
      LANES: lanes,
    },
    // The shader names h, b, residual and bias even where it does not read them; any memory will do.
    buffers: { x, y, h: lora?.h ?? x, b: lora?.b ?? x, residual: residual ?? x, bias: bias ?? x },
    grid: [across, rows, folds] as const,
    flops: 2 * rows * outputs * (inputs + rank),
  };
}

/** y has half the columns of what is computed; as for what is, the checks are those of any product. */
function gatedParams(call: GemvOperands, shape: readonly [outputs: number, inputs: number]) {
  const { y, yColumn = 0, residual, accumulate } = call;
  const [yRows, yColumns] = matrixShape(y);
  const features = shape[0] / 2;
  invariant(
    Number.isInteger(features) && yColumn + features <= yColumns && !residual && !accumulate,
    () => `gemv: ${y.label} is ${yRows} × ${yColumns}, for ${features} gated features`,
  );
  const whole: Tensor = { ...y, shape: [yRows, shape[0]] };
  const params = forwardParams({ ...call, y: whole, yColumn: 0 }, shape);
  return { ...params, y_column: yColumn, y_stride: yColumns };
}

/** A token's product, of about a tenth of a head. */
export const GEMV_TUNABLE: Tunable = {
  slot: GEMV_SLOT,
  use: "generation",
  candidates: ({ info }) => (info.isFallbackAdapter ? [] : ["16", "8", "32", "64"]),
  untried: (gpu) => String(defaultLanes(gpu)),
  trial(gpu, sizes) {
    const outputs = 8192;
    const tensor = gpu.allocate("trial.weight", sizes.act, [outputs, sizes.hidden]);
    fillTrial(gpu, tensor);
    const weight: PlainWeight = { tensor, shape: [outputs, sizes.hidden], kind: "native" };
    return gemvTrial(gpu, sizes, outputs, [tensor], (recorder, x, y) =>
      gemv(recorder, { x, y, weight }),
    );
  },
};

/** A trial of a product with one row. `own` are the tensors of the weight. */
export function gemvTrial(
  gpu: Gpu,
  { hidden, act }: TrialSizes,
  outputs: number,
  own: readonly StoredTensor[],
  record: (recorder: Recorder, x: StoredTensor, y: StoredTensor) => void,
): Trial {
  const x = gpu.allocate("trial.x", act, [1, hidden]);
  const y = gpu.allocate("trial.y", "f32", [1, outputs]);
  fillTrial(gpu, x);
  return {
    tensors: [x, y, ...own],
    record: (recorder) => record(recorder, x, y),
    results: [y],
    // Variants add some thousand terms in another order, in f32.
    tolerance: 2 ** -14,
  };
}
