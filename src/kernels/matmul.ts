// Products with a frozen weight, each with the adapter's low-rank part added in the same dispatch.
import { invariant } from "../base/error.ts";
import { type Shader, workgroups } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import { matrixShape, requireShape, type Tensor } from "../gpu/tensor.ts";
import dropoutLib from "../../shaders/lib/dropout.wgsl?raw";
import stepLib from "../../shaders/lib/step.wgsl?raw";
import straddleLib from "../../shaders/lib/straddle.wgsl?raw";
import widenBf16 from "../../shaders/lib/widen-bf16.wgsl?raw";
import widenF16 from "../../shaders/lib/widen-f16.wgsl?raw";
import widenNative from "../../shaders/lib/widen-native.wgsl?raw";
import shader from "../../shaders/matmul.wgsl?raw";

/** How the numbers of a weight lie in memory: as the tensor's dtype says, or as pairs of 16 bits in u32. */
export type WeightKind = "native" | "packed-f16" | "packed-bf16";

/** A weight stored as numbers; row-major, one row an output. The inputs are a multiple of 4. */
export interface PlainWeight {
  readonly tensor: Tensor;
  readonly shape: readonly [outputs: number, inputs: number];
  readonly kind: WeightKind;
}

/** What an adapter adds to y. */
export interface LoraForward {
  /** f32 [as many rows as x, segments · rank], scaled: what `loraDown` wrote. */
  readonly h: Tensor;
  /** f32 [outputs, rank]. */
  readonly b: Tensor;
  readonly rank: number;
  /** Where each segment of the outputs ends; all but the last on a multiple of 4. */
  readonly segmentEnds: readonly number[];
}

/** What an adapter adds to dx. */
export interface LoraBackward {
  /** f32 [as many rows as dx, segments · rank], scaled: what `loraUpBackward` wrote. */
  readonly dh: Tensor;
  /** f32 [segments · rank, inputs]. */
  readonly a: Tensor;
  readonly rank: number;
  readonly segments: number;
  /** As in the forward pass; the row of an element is its row in dx. */
  readonly dropout?: Dropout | undefined;
}

/** Dropout of an adapter's input, as shaders/lib/dropout.wgsl defines it. */
export interface Dropout {
  /** Below 1. */
  readonly probability: number;
  /** Names the mask of segment 0; segment s has the mask `moduleId + s`. */
  readonly moduleId: number;
}

/** The text that defines `widen` for each kind. */
export const WIDEN_SOURCE: Readonly<Record<WeightKind, string>> = {
  native: widenNative,
  "packed-f16": widenF16,
  "packed-bf16": widenBf16,
};

/** The WGSL type of four neighboring weights in memory. */
export function quadType({ tensor, kind }: Pick<PlainWeight, "tensor" | "kind">): string {
  return kind === "native" ? `vec4<${tensor.dtype}>` : "vec2u";
}

/** The dropout fields of a shader's parameters; without dropout they are never read. */
export function dropoutParams(dropout: Dropout | undefined) {
  if (!dropout) return { drop_below: 0, keep_scale: 1, module_id: 0 };
  const { probability, moduleId } = dropout;
  invariant(
    probability >= 0 && probability < 1,
    () => `dropout probability ${probability} is not in [0, 1)`,
  );
  return {
    drop_below: Math.round(probability * 65_536),
    keep_scale: 1 / (1 - probability),
    module_id: moduleId,
  };
}

const bindings = {
  x: "read",
  weight: "read",
  h: "read",
  b: "read",
  y: "read_write",
  dy: "read",
  dh: "read",
  a: "read",
  dx: "read_write",
  residual: "read",
  bias: "read",
} as const;

const fields = {
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
  drop_below: "u32",
  keep_scale: "f32",
  module_id: "u32",
  has_bias: "u32",
} as const;

function shaderOf(kind: WeightKind): Shader<keyof typeof bindings, keyof typeof fields> {
  return {
    label: kind === "native" ? "matmul" : `matmul-${kind}`,
    source: [stepLib, dropoutLib, straddleLib, WIDEN_SOURCE[kind], shader],
    bindings,
    params: fields,
    usesStep: true,
  };
}

const shaders: Readonly<Record<WeightKind, ReturnType<typeof shaderOf>>> = {
  native: shaderOf("native"),
  "packed-f16": shaderOf("packed-f16"),
  "packed-bf16": shaderOf("packed-bf16"),
};

// What a result is added to; the shader's `addend`.
const ADD_NOTHING = 0;
const ADD_HELD = 1;
const ADD_RESIDUAL = 2;

// Rows and columns of the result that one workgroup makes: 8 × 8 threads of 4 × 4.
const TILE = 32;

export interface MatmulForward {
  /** f32 or f16, [≥ xRow + rows, inputs]. */
  readonly x: Tensor;
  readonly weight: PlainWeight;
  /** f32 or f16, [≥ yRow + rows, ≥ yColumn + outputs]. */
  readonly y: Tensor;
  /** All rows of x from `xRow` on, if not given. */
  readonly rows?: number;
  readonly xRow?: number;
  readonly yRow?: number;
  readonly yColumn?: number;
  /** Add to y what y holds. */
  readonly accumulate?: boolean;
  /** Add to y what this f32 tensor of y's shape holds at the same place. Not y itself. */
  readonly residual?: Tensor | undefined;
  /** f32 [outputs]: added to every row of y. Its gradient is nobody's: it is as frozen as the weight. */
  readonly bias?: Tensor | undefined;
  readonly lora?: LoraForward | undefined;
}

/**
 * y[yRow + t, yColumn + n] = Σ_k x[xRow + t, k] · W[n, k] + Σ_j h[xRow + t, segment(n) · rank + j] · B[n, j]
 * for t < rows and n < outputs. Writes y there; with `bias`, plus bias[n]; with `accumulate` or `residual`,
 * plus what that holds.
 */
export function matmulForward(recorder: Recorder, call: MatmulForward): void {
  const { x, weight, y, lora, residual, bias } = call;
  checkWeight(weight);
  const params = forwardParams(call, weight.shape);
  const { rows, inputs, outputs, rank } = params;
  recorder.dispatch(shaders[weight.kind], {
    entry: "forward",
    types: { In: x.dtype, Out: y.dtype, Quad: quadType(weight) },
    constants: { HAS_LORA: lora !== undefined, HAS_DROPOUT: false, RAGGED: false },
    // The shader names h, b, residual and bias even where it does not read them; any memory will do.
    buffers: {
      x,
      weight: weight.tensor,
      y,
      h: lora?.h ?? x,
      b: lora?.b ?? x,
      residual: residual ?? x,
      bias: bias ?? x,
    },
    params: { ...params, ...dropoutParams(undefined) },
    grid: [workgroups(outputs, TILE), workgroups(rows, TILE)],
    flops: 2 * rows * outputs * (inputs + rank),
  });
}

/** Checks the operands of y = x · Wᵀ, and says where they lie. */
export function forwardParams(
  call: Omit<MatmulForward, "weight">,
  [outputs, inputs]: readonly [number, number],
) {
  const { x, y, xRow = 0, yRow = 0, yColumn = 0, accumulate = false, lora, residual, bias } = call;
  const [xRows, xColumns] = matrixShape(x);
  const [yRows, yColumns] = matrixShape(y);
  const rows = call.rows ?? xRows - xRow;
  invariant(
    xColumns === inputs && inputs % 4 === 0 && xRow + rows <= xRows,
    () => `matmul: ${x.label} is ${xRows} × ${xColumns}, needs ${xRow + rows} × ${inputs}`,
  );
  invariant(
    yRow + rows <= yRows && yColumn + outputs <= yColumns,
    () =>
      `matmul: ${y.label} is ${yRows} × ${yColumns}, needs ${yRow + rows} × ${yColumn + outputs}`,
  );
  if (residual) checkResidual(residual, y, accumulate);
  if (bias) requireShape("matmul", bias, "f32", [1, outputs], y);
  if (lora) checkLoraForward(lora, xRow + rows, outputs);
  return {
    rows,
    inputs,
    outputs,
    x_row: xRow,
    y_row: yRow,
    y_column: yColumn,
    y_stride: yColumns,
    addend: residual ? ADD_RESIDUAL : accumulate ? ADD_HELD : ADD_NOTHING,
    rank: lora?.rank ?? 0,
    segments: lora?.segmentEnds.length ?? 0,
    ...segmentParams(lora?.segmentEnds ?? [outputs], outputs),
    has_bias: bias ? 1 : 0,
  };
}

export interface MatmulBackward {
  /** f32 or f16, [≥ dyRow + rows, ≥ dyColumn + outputs]. */
  readonly dy: Tensor;
  readonly weight: PlainWeight;
  /** f32 or f16, [≥ dxRow + rows, inputs]. */
  readonly dx: Tensor;
  /** All rows of dx from `dxRow` on, if not given. */
  readonly rows?: number;
  readonly dyRow?: number;
  readonly dyColumn?: number;
  readonly dxRow?: number;
  /** Add to dx what dx holds. */
  readonly accumulate?: boolean;
  readonly lora?: LoraBackward | undefined;
}

/**
 * dx[dxRow + t, k] = Σ_n dy[dyRow + t, dyColumn + n] · W[n, k] + Σ_s mask_s · Σ_j dh[dxRow + t, s · rank + j] · A[s · rank + j, k]
 * for t < rows. Writes dx there, or adds to it.
 */
export function matmulBackward(recorder: Recorder, call: MatmulBackward): void {
  const { dy, weight, dx, dyRow = 0, dyColumn = 0, dxRow = 0, accumulate = false, lora } = call;
  const [outputs, inputs] = weight.shape;
  const [dxRows, dxColumns] = matrixShape(dx);
  const [dyRows, dyColumns] = matrixShape(dy);
  const rows = call.rows ?? dxRows - dxRow;
  checkWeight(weight);
  invariant(
    dxColumns === inputs && dxRow + rows <= dxRows,
    () => `matmul: ${dx.label} is ${dxRows} × ${dxColumns}, needs ${dxRow + rows} × ${inputs}`,
  );
  invariant(
    dyRow + rows <= dyRows && dyColumn + outputs <= dyColumns,
    () =>
      `matmul: ${dy.label} is ${dyRows} × ${dyColumns}, needs ${dyRow + rows} × ${dyColumn + outputs}`,
  );
  if (lora) checkLoraBackward(lora, dxRow + rows, inputs);
  recorder.dispatch(shaders[weight.kind], {
    entry: "backward",
    types: { In: dy.dtype, Out: dx.dtype, Quad: quadType(weight) },
    constants: {
      HAS_LORA: lora !== undefined,
      HAS_DROPOUT: lora?.dropout !== undefined,
      RAGGED: [outputs, dyColumn, dyColumns].some((size) => size % 4 !== 0),
    },
    // The shader names dh and a even where it does not read them; any memory will do.
    buffers: { dy, weight: weight.tensor, dx, dh: lora?.dh ?? dy, a: lora?.a ?? dy },
    params: {
      rows,
      inputs,
      outputs,
      x_row: dxRow,
      y_row: dyRow,
      y_column: dyColumn,
      y_stride: dyColumns,
      addend: accumulate ? ADD_HELD : ADD_NOTHING,
      rank: lora?.rank ?? 0,
      segments: lora?.segments ?? 0,
      ...segmentParams([outputs], outputs),
      ...dropoutParams(lora?.dropout),
      has_bias: 0,
    },
    grid: [workgroups(inputs, TILE), workgroups(rows, TILE)],
    flops: 2 * rows * inputs * (outputs + (lora ? lora.rank * lora.segments : 0)),
  });
}

/** `end_0`…`end_2` of a shader's parameters: the last segment ends with the outputs. */
export function segmentParams(segmentEnds: readonly number[], outputs: number) {
  const [first = outputs, second = outputs, third = outputs] = segmentEnds;
  return { end_0: first, end_1: second, end_2: third };
}

/** Checks the ends of up to four segments, and that a tile of four outputs lies in one segment. */
export function checkSegments(segmentEnds: readonly number[], outputs: number): void {
  const isAscending = segmentEnds.every((end, s) => end > (segmentEnds[s - 1] ?? 0));
  const isAligned = segmentEnds.slice(0, -1).every((end) => end % 4 === 0);
  invariant(
    segmentEnds.length <= 4 && segmentEnds.at(-1) === outputs && isAscending && isAligned,
    () => `segments end at ${segmentEnds.join(", ")} of ${outputs} outputs`,
  );
}

function checkWeight({ tensor, shape: [outputs, inputs], kind }: PlainWeight): void {
  const perElement = kind === "native" ? 1 : 2;
  invariant(
    inputs % 4 === 0 && matrixElements(tensor) * perElement >= outputs * inputs,
    () => `matmul: ${tensor.label} of ${matrixElements(tensor)} words as ${outputs} × ${inputs}`,
  );
}

function checkResidual(residual: Tensor, y: Tensor, accumulate: boolean): void {
  const [rows, columns] = matrixShape(residual);
  const [yRows, yColumns] = matrixShape(y);
  invariant(
    residual.dtype === "f32" &&
      rows === yRows &&
      columns === yColumns &&
      residual !== y &&
      !accumulate,
    () => `matmul: ${residual.label} ${rows} × ${columns} beside ${y.label} ${yRows} × ${yColumns}`,
  );
}

function checkLoraForward(lora: LoraForward, rows: number, outputs: number) {
  const { h, b, rank, segmentEnds } = lora;
  checkSegments(segmentEnds, outputs);
  checkFactor(b, outputs, rank);
  checkLow(h, rows, rank, segmentEnds.length);
}

function checkLoraBackward({ dh, a, rank, segments }: LoraBackward, rows: number, inputs: number) {
  checkFactor(a, segments * rank, inputs);
  checkLow(dh, rows, rank, segments);
}

/** Checks that A or B is rows × columns. */
export function checkFactor(factor: Tensor, rows: number, columns: number): void {
  const shape = matrixShape(factor);
  invariant(
    factor.dtype === "f32" && shape[0] === rows && shape[1] === columns,
    () => `${factor.label} is ${factor.dtype} ${shape.join(" × ")}, needs f32 ${rows} × ${columns}`,
  );
}

/** Checks that h or dh has `rows` rows of one rank a segment. */
export function checkLow(low: Tensor, rows: number, rank: number, segments: number): void {
  const [lowRows, columns] = matrixShape(low);
  invariant(
    low.dtype === "f32" && rank % 4 === 0 && lowRows >= rows && columns === segments * rank,
    () => `${low.label} is ${lowRows} × ${columns}, needs f32 ${rows} × ${segments} · ${rank}`,
  );
}

function matrixElements(tensor: Tensor): number {
  const [rows, columns] = matrixShape(tensor);
  return rows * columns;
}
