// The low-rank side path of a frozen matrix: what goes down to the rank, and the gradients of A and B.
//
// Several projections of one input are one matrix whose outputs fall into segments; each segment has its
// own rows of A, its own columns of h, its own scale and its own dropout mask.
//
// Slot "lora": "direct" gives every thread a small tile and the whole inner dimension, "lanes N" deals the
// inner dimension out to N threads. A GPU's thousands of threads have nothing to do in the former; on a
// processor they are only more to add up.
import { invariant } from "../base/error.ts";
import { foldGrid, type Shader, workgroups } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import { type Dtype, matrixShape, type StoredTensor, type Tensor } from "../gpu/tensor.ts";
import dropoutLib from "../../shaders/lib/dropout.wgsl?raw";
import gridLib from "../../shaders/lib/grid.wgsl?raw";
import loraLib from "../../shaders/lib/lora.wgsl?raw";
import stepLib from "../../shaders/lib/step.wgsl?raw";
import straddleLib from "../../shaders/lib/straddle.wgsl?raw";
import shader from "../../shaders/lora.wgsl?raw";
import { fillTrial } from "./trial.ts";
import { loraLanes, splitOf, untriedVariant } from "./lora-lanes.ts";
import { LORA_OPERANDS } from "./lora-operands.ts";
import {
  checkFactor,
  checkLow,
  checkSegments,
  type Dropout,
  dropoutParams,
  scaleParams,
  segmentParams,
} from "./adapter-operands.ts";
import type { Tunable } from "./tunable.ts";

const lora = {
  label: "lora",
  source: [stepLib, dropoutLib, gridLib, straddleLib, loraLib, shader],
  ...LORA_OPERANDS,
} as const satisfies Shader<string, string>;

// Threads of a workgroup; each makes a small tile of the result.
const WORKGROUP = 64;

export const LORA_SLOT = "lora";

export interface LoraDown {
  /** f32 or f16, [≥ xRow + rows, inputs]. */
  readonly x: Tensor;
  /** f32 [segments · rank, inputs]. */
  readonly a: Tensor;
  /** f32 [as many rows as x, segments · rank]. */
  readonly h: Tensor;
  readonly rank: number;
  /** One a segment; each is multiplied by the step's adapter scale. */
  readonly scales: readonly number[];
  readonly dropout?: Dropout | undefined;
  readonly rows?: number;
  readonly xRow?: number;
}

/** h[xRow + t, s · rank + j] = scale_s · Σ_k mask_s(t, k) · x[xRow + t, k] · A[s · rank + j, k]. Writes h. */
export function loraDown(recorder: Recorder, call: LoraDown): void {
  const { x, a, h, rank, scales, dropout, xRow = 0 } = call;
  const { rows, inputs } = inputsOf(x, xRow, call.rows);
  checkFactor(a, scales.length * rank, inputs);
  checkLow(h, xRow + rows, rank, scales.length);
  const split = splitOf(recorder.gpu, recorder.choice(LORA_SLOT), rank, rows);
  recorder.dispatch(split ? loraLanes : lora, {
    entry: "down",
    types: { X: x.dtype, Dy: x.dtype },
    constants: { HAS_DROPOUT: dropout !== undefined, RAGGED: false, ...split?.constants },
    buffers: { x, a, h },
    params: {
      ...NO_OUTPUTS,
      rows,
      inputs,
      x_row: xRow,
      rank,
      segments: scales.length,
      ...scaleParams(scales),
      ...dropoutParams(dropout),
    },
    grid: split
      ? [workgroups(rows, 4 * split.columns), split.rankBlocks, scales.length]
      : [workgroups(Math.ceil(rows / 4) * (rank / 4), WORKGROUP), 1, scales.length],
    flops: 2 * rows * inputs * rank * scales.length,
  });
}

export interface LoraUpBackward {
  /** f32 or f16, [≥ dyRow + rows, ≥ dyColumn + outputs]. */
  readonly dy: Tensor;
  /** f32 [outputs, rank]. */
  readonly b: Tensor;
  /** f32 [as many rows as x, segments · rank]. */
  readonly dh: Tensor;
  readonly rank: number;
  readonly segmentEnds: readonly number[];
  readonly scales: readonly number[];
  readonly rows?: number;
  /** First row of dh. */
  readonly xRow?: number;
  readonly dyRow?: number;
  readonly dyColumn?: number;
}

/** dh[xRow + t, s · rank + j] = scale_s · Σ_{n in s} dy[dyRow + t, dyColumn + n] · B[n, j]. Writes dh. */
export function loraUpBackward(recorder: Recorder, call: LoraUpBackward): void {
  const { dy, b, dh, rank, segmentEnds, scales, xRow = 0 } = call;
  const rows = call.rows ?? matrixShape(dh)[0] - xRow;
  const { params, isRagged } = outputsOf(call, rows);
  const { outputs } = params;
  invariant(
    scales.length === segmentEnds.length,
    () => `lora: ${scales.length} scales for ${segmentEnds.length} segments of ${b.label}`,
  );
  checkFactor(b, outputs, rank);
  checkLow(dh, xRow + rows, rank, segmentEnds.length);
  const split = splitOf(recorder.gpu, recorder.choice(LORA_SLOT), rank);
  recorder.dispatch(split ? loraLanes : lora, {
    entry: "up_backward",
    types: { X: dy.dtype, Dy: dy.dtype },
    constants: { HAS_DROPOUT: false, RAGGED: isRagged, ...split?.constants },
    buffers: { dy, b, dh },
    params: {
      ...params,
      rows,
      inputs: 0,
      x_row: xRow,
      rank,
      ...scaleParams(scales),
      ...dropoutParams(undefined),
    },
    grid: split
      ? [workgroups(rows, (16 * split.columns) / split.quads), split.rankBlocks, scales.length]
      : [workgroups(Math.ceil(rows / 4) * (rank / 4), WORKGROUP), 1, scales.length],
    flops: 2 * rows * outputs * rank,
  });
}

export interface LoraGradients {
  /** f32 or f16, [≥ xRow + rows, inputs]. */
  readonly x: Tensor;
  /** f32 or f16, [≥ dyRow + rows, ≥ dyColumn + outputs]. */
  readonly dy: Tensor;
  /** f32 [as many rows as x, segments · rank], scaled: what `loraDown` wrote. */
  readonly h: Tensor;
  /** f32, of h's shape: what `loraUpBackward` wrote. */
  readonly dh: Tensor;
  /** f32 [segments · rank, inputs]. */
  readonly da: Tensor;
  /** f32 [outputs, rank]. */
  readonly db: Tensor;
  readonly rank: number;
  readonly segmentEnds: readonly number[];
  readonly dropout?: Dropout | undefined;
  readonly rows?: number;
  /** First row of x, h and dh. */
  readonly xRow?: number;
  readonly dyRow?: number;
  readonly dyColumn?: number;
}

/**
 * da[s · rank + j, k] += Σ_t dh[xRow + t, s · rank + j] · mask_s(t, k) · x[xRow + t, k] and
 * db[n, j] += Σ_t dy[dyRow + t, dyColumn + n] · h[xRow + t, segment(n) · rank + j]. Adds into da and db.
 */
export function loraGradients(recorder: Recorder, call: LoraGradients): void {
  const { x, dy, h, dh, da, db, rank, segmentEnds, dropout, xRow = 0 } = call;
  const segments = segmentEnds.length;
  const { rows, inputs } = inputsOf(x, xRow, call.rows);
  const { params, isRagged } = outputsOf(call, rows);
  const { outputs } = params;
  checkFactor(da, segments * rank, inputs);
  checkFactor(db, outputs, rank);
  checkLow(h, xRow + rows, rank, segments);
  checkLow(dh, xRow + rows, rank, segments);
  const split = splitOf(recorder.gpu, recorder.choice(LORA_SLOT), rank);
  recorder.dispatch(split ? loraLanes : lora, {
    entry: "gradients",
    types: { X: x.dtype, Dy: dy.dtype },
    constants: { HAS_DROPOUT: dropout !== undefined, RAGGED: isRagged, ...split?.constants },
    buffers: { x, dy, made_h: h, made_dh: dh, da, db },
    params: {
      ...params,
      rows,
      inputs,
      x_row: xRow,
      rank,
      ...scaleParams([]),
      ...dropoutParams(dropout),
    },
    grid: foldGrid(
      split
        ? split.rankBlocks *
            (workgroups(inputs, 4 * split.columns) * segments +
              workgroups(outputs, 4 * split.columns))
        : workgroups(Math.ceil(rank / 8) * (inputs / 4) * segments, WORKGROUP) +
            workgroups(Math.ceil(outputs / 4) * (rank / 4), WORKGROUP),
    ),
    flops: 2 * rows * rank * (inputs * segments + outputs),
  });
}

/** The queries', keys' and values' side path of a layer, forward and backward. */
export const LORA_TUNABLE: Tunable = {
  slot: LORA_SLOT,
  use: "training",
  candidates: ({ info }, { rank }) =>
    rank === 0 || info.isFallbackAdapter
      ? ["direct"]
      : ["lanes 32", "lanes 16", "lanes 64", "direct"],
  untried: untriedVariant,
  trial(gpu, { hidden: inputs, heads, kvHeads, headSize, rank, tokens: rows, act }) {
    const segmentEnds = [heads, heads + kvHeads, heads + 2 * kvHeads].map((n) => n * headSize);
    const [segments, outputs] = [segmentEnds.length, (heads + 2 * kvHeads) * headSize];
    const filled = (label: string, dtype: Dtype, ...shape: number[]) => {
      const tensor = gpu.allocate(`trial.${label}`, dtype, shape);
      fillTrial(gpu, tensor);
      return tensor;
    };
    const x = filled("x", act, rows, inputs);
    const dy = filled("dy", act, rows, outputs);
    const a = filled("a", "f32", segments * rank, inputs);
    const b = filled("b", "f32", outputs, rank);
    const make = (label: string, ...shape: number[]) =>
      gpu.allocate(`trial.${label}`, "f32", shape);
    const results = {
      h: make("h", rows, segments * rank),
      dh: make("dh", rows, segments * rank),
      da: make("da", segments * rank, inputs),
      db: make("db", outputs, rank),
    };
    const { h, dh, da, db } = results;
    // What is added to must be zero: products with zeros are.
    const zeros = make("zeros", Math.max(segments * rank, outputs, inputs), 4);
    const scales = segmentEnds.map(() => 2);
    const dropout = { probability: 0.1, moduleId: 0 };
    const clear = (recorder: Recorder, tensor: StoredTensor) => {
      const [count, columns] = matrixShape(tensor);
      const factor = { ...zeros, shape: [columns, 4] };
      loraDown(recorder, {
        x: zeros,
        rows: count,
        a: factor,
        h: tensor,
        rank: columns,
        scales: [1],
      });
    };
    return {
      tensors: [x, dy, a, b, zeros, ...Object.values(results)],
      record(recorder) {
        clear(recorder, da);
        clear(recorder, db);
        loraDown(recorder, { x, a, h, rank, scales, dropout });
        loraUpBackward(recorder, { dy, b, dh, rank, segmentEnds, scales });
        loraGradients(recorder, { x, dy, ...results, rank, segmentEnds, dropout });
      },
      results: Object.values(results),
      // Some thousand terms in another order, in f32.
      tolerance: 2 ** -14,
    };
  },
};

const NO_OUTPUTS = {
  outputs: 0,
  y_row: 0,
  y_column: 0,
  y_stride: 0,
  ...segmentParams([], 0),
} as const;

function inputsOf(x: Tensor, xRow: number, givenRows: number | undefined) {
  const [xRows, inputs] = matrixShape(x);
  const rows = givenRows ?? xRows - xRow;
  invariant(
    inputs % 4 === 0 && xRow + rows <= xRows,
    () => `lora: ${x.label} is ${xRows} × ${inputs}, needs ${xRow + rows} rows of 4 · n`,
  );
  return { rows, inputs };
}

/** The parameters that say where in dy the outputs lie. */
function outputsOf(
  {
    dy,
    segmentEnds,
    dyRow = 0,
    dyColumn = 0,
  }: Pick<LoraUpBackward, "dy" | "segmentEnds" | "dyRow" | "dyColumn">,
  rows: number,
) {
  const [dyRows, dyColumns] = matrixShape(dy);
  const outputs = segmentEnds.at(-1) ?? 0;
  checkSegments(segmentEnds, outputs);
  invariant(
    dyRow + rows <= dyRows && dyColumn + outputs <= dyColumns,
    () =>
      `lora: ${dy.label} is ${dyRows} × ${dyColumns}, needs ${dyRow + rows} × ${dyColumn + outputs}`,
  );
  const params = {
    outputs,
    y_row: dyRow,
    y_column: dyColumn,
    y_stride: dyColumns,
    segments: segmentEnds.length,
    ...segmentParams(segmentEnds, outputs),
  };
  const isRagged = [outputs, dyColumn, dyColumns].some((size) => size % 4 !== 0);
  return { params, isRagged };
}
