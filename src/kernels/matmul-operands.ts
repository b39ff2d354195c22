// The operands of products with a frozen weight: what they are, that they fit, and what a shader is told.
//
// Every family of products (matmul.ts, matmul-tile.ts, matmul-matrix.ts) records a `Product` made here.
import { invariant } from "../base/error.ts";
import type { Shader } from "../gpu/kernel.ts";
import { matrixShape, requireShape, type Tensor } from "../gpu/tensor.ts";
import dropoutLib from "../../shaders/lib/dropout.wgsl?raw";
import matmulLib from "../../shaders/lib/matmul.wgsl?raw";
import weightLib from "../../shaders/lib/matmul-weight.wgsl?raw";
import weightNativeLib from "../../shaders/lib/matmul-weight-native.wgsl?raw";
import weightNf4Lib from "../../shaders/lib/matmul-weight-nf4.wgsl?raw";
import yLib from "../../shaders/lib/matmul-y.wgsl?raw";
import yRaggedLib from "../../shaders/lib/matmul-y-ragged.wgsl?raw";
import yRopeLib from "../../shaders/lib/matmul-y-rope.wgsl?raw";
import weightNf4TableLib from "../../shaders/lib/matmul-weight-nf4-table.wgsl?raw";
import nf4Lib from "../../shaders/lib/nf4.wgsl?raw";
import stepLib from "../../shaders/lib/step.wgsl?raw";
import straddleLib from "../../shaders/lib/straddle.wgsl?raw";
import {
  checkLoraBackward,
  checkLoraForward,
  dropoutParams,
  type LoraBackward,
  type LoraForward,
  segmentParams,
} from "./adapter-operands.ts";
import {
  checkWeight,
  type Nf4Weight,
  type PlainWeight,
  quadType,
  type WeightKind,
  WIDEN_SOURCE,
} from "./weight.ts";
import { checkRope, ropeParams, type RopeTurn } from "./matmul-rope.ts";

export interface MatmulForward {
  /** f32 or f16, [≥ xRow + rows, inputs]. */
  readonly x: Tensor;
  readonly weight: PlainWeight | Nf4Weight;
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
  /** Turn the queries and keys among the outputs; y is then all of qkv, and nothing but a bias is added. */
  readonly rope?: RopeTurn | undefined;
}

export interface MatmulBackward {
  /** f32 or f16, [≥ dyRow + rows, ≥ dyColumn + outputs]. */
  readonly dy: Tensor;
  readonly weight: PlainWeight | Nf4Weight;
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
  /** Slices that a long sum is made in, to check them by; by its size, if not given: matmul-slices.ts. */
  readonly slices?: number;
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
  absmax: "read",
  positions: "read",
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
  head_size: "u32",
  head_period: "u32",
  turned: "u32",
  pairs: "u32",
  angles: "u32",
  slice_steps: "u32",
} as const;

export type ProductShader = Shader<keyof typeof bindings, keyof typeof fields>;

/** A family of shaders for products. */
export interface ProductFamily {
  readonly label: string;
  /** What follows the files that read operands and store results. */
  readonly files: readonly string[];
  /** Whether it has workgroup memory for a table of NF4's values. */
  readonly hasTable?: boolean;
  readonly enables?: readonly string[];
}

/** Makes a family's shaders, each once: one for every way of storing a weight and y. */
export function productShaders({
  label: family,
  files,
  hasTable = false,
  enables = [],
}: ProductFamily): (product: Product) => ProductShader {
  const weightFiles: Readonly<Record<Product["storage"], readonly string[]>> = {
    native: [weightNativeLib],
    "packed-f16": [WIDEN_SOURCE["packed-f16"], weightLib],
    "packed-bf16": [WIDEN_SOURCE["packed-bf16"], weightLib],
    nf4: [nf4Lib, hasTable ? weightNf4TableLib : weightNf4Lib],
  };
  const made = new Map<string, ProductShader>();
  return ({ storage, stores }) => {
    const suffixes = [
      storage === "native" ? "" : `-${storage}`,
      stores === "quads" ? "" : `-${stores}`,
    ];
    const label = `${family}${suffixes.join("")}`;
    const shader = made.get(label) ?? {
      label,
      source: [
        stepLib,
        dropoutLib,
        straddleLib,
        ...weightFiles[storage],
        matmulLib,
        Y_LIBS[stores],
        ...files,
      ],
      bindings,
      params: fields,
      usesStep: true,
      enables,
    };
    made.set(label, shader);
    return shader;
  };
}

const Y_LIBS = { quads: yLib, ragged: yRaggedLib, rope: yRopeLib } as const;

/** A product that has been checked, as every family's shader wants to be told of it. */
export interface Product {
  readonly entry: "forward" | "backward";
  readonly storage: WeightKind | "nf4";
  /** How y is stored: four outputs at once, one by one, or pairs that are turned. The backward pass has no y. */
  readonly stores: keyof typeof Y_LIBS;
  readonly types: { readonly In: string; readonly Out: string; readonly Quad: string };
  readonly constants: Readonly<Record<string, boolean>>;
  readonly buffers: Readonly<Partial<Record<keyof typeof bindings, Tensor>>>;
  readonly params: Readonly<Record<keyof typeof fields, number>>;
  /** Of the result. */
  readonly rows: number;
  readonly columns: number;
  /** Of the inner dimension. */
  readonly depth: number;
  readonly flops: number;
  /** As many as the backward pass was asked for. */
  readonly slices?: number | undefined;
}

// What a result is added to; the shader's `addend`.
const ADD_NOTHING = 0;
const ADD_HELD = 1;
const ADD_RESIDUAL = 2;

/**
 * The type that tiles and matrices multiply operands in (matrices in f32 where a device has no others: see
 * matmul-matrix.ts): f16 where a product takes or makes f16, as all of a model with f16 activations do. Where one operand is f32 there, as the gradients of logits and of the
 * residual stream are, it is rounded on its way into the tile; what is too large for f16 becomes infinite,
 * and the scale of the loss is lowered for it.
 */
export function multipliedIn({ types }: Product): "f32" | "f16" {
  const { In, Out, Quad } = types;
  return In === "f16" || Out === "f16" || Quad === "vec4<f16>" ? "f16" : "f32";
}

/** The slot of choices that a product's variant is named in. */
export function productSlot(product: Product): string {
  return `matmul.${multipliedIn(product)}.${product.entry}`;
}

/** Checks the operands of y = x · Wᵀ, for shaders. `rope` must be one that `turnsInEpilogue`. */
export function forwardProduct(call: MatmulForward): Product {
  const { x, weight, y, lora, residual, bias, rope } = call;
  checkWeight(weight);
  const params = forwardParams(call, weight.shape);
  const { rows, inputs, outputs, rank } = params;
  return {
    entry: "forward",
    ...storageOf(weight),
    stores: rope ? "rope" : isRagged(params) ? "ragged" : "quads",
    types: { In: x.dtype, Out: y.dtype, Quad: quadOf(weight) },
    constants: {
      HAS_LORA: lora !== undefined,
      HAS_DROPOUT: false,
      RAGGED: false,
      ...(rope && { USE_STEP_POSITION: rope.usesStepPosition ?? false }),
    },
    // The shader names h, b, residual and bias even where it does not read them; any memory will do.
    buffers: {
      x,
      ...weightBuffers(weight),
      y,
      h: lora?.h ?? x,
      b: lora?.b ?? x,
      residual: rope?.table ?? residual ?? x,
      bias: bias ?? x,
      ...(rope && { positions: rope.positions }),
    },
    params: { ...params, ...dropoutParams(undefined), ...ropeParams(rope), slice_steps: 0 },
    rows,
    columns: outputs,
    depth: inputs,
    flops: 2 * rows * outputs * (inputs + rank),
  };
}

function isRagged({
  outputs,
  y_column: column,
  y_stride: stride,
}: ReturnType<typeof forwardParams>) {
  return [outputs, column, stride].some((size) => size % 4 !== 0);
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
  if (call.rope) checkTurned(call.rope, call);
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

/** Checks the operands of dx = dy · W, for shaders. */
export function backwardProduct(call: MatmulBackward): Product {
  const { dy, weight, dx, dyRow = 0, dyColumn = 0, dxRow = 0, accumulate = false, lora } = call;
  checkWeight(weight);
  const [outputs, inputs] = weight.shape;
  const [dxRows, dxColumns] = matrixShape(dx);
  const [dyRows, dyColumns] = matrixShape(dy);
  const rows = call.rows ?? dxRows - dxRow;
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
  return {
    entry: "backward",
    ...storageOf(weight),
    stores: "quads",
    types: { In: dy.dtype, Out: dx.dtype, Quad: quadOf(weight) },
    constants: {
      HAS_LORA: lora !== undefined,
      HAS_DROPOUT: lora?.dropout !== undefined,
      RAGGED: [outputs, dyColumn, dyColumns].some((size) => size % 4 !== 0),
    },
    // The shader names dh and a even where it does not read them; any memory will do.
    buffers: { dy, ...weightBuffers(weight), dx, dh: lora?.dh ?? dy, a: lora?.a ?? dy },
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
      ...ropeParams(undefined),
      slice_steps: 0,
    },
    rows,
    columns: inputs,
    depth: outputs,
    flops: 2 * rows * inputs * (outputs + (lora ? lora.rank * lora.segments : 0)),
    slices: call.slices,
  };
}

function storageOf(weight: PlainWeight | Nf4Weight): Pick<Product, "storage"> {
  return { storage: "codes" in weight ? "nf4" : weight.kind };
}

/** The WGSL type of an element of the weight's memory: four numbers, or a word of NF4. */
function quadOf(weight: PlainWeight | Nf4Weight): string {
  return "codes" in weight ? "u32" : quadType(weight);
}

function weightBuffers(weight: PlainWeight | Nf4Weight) {
  if ("codes" in weight) return { weight: weight.codes, absmax: weight.absmax };
  return { weight: weight.tensor };
}

/** Checks that y is turned whole, and that nothing but a bias is added to it. */
function checkTurned(rope: RopeTurn, call: Omit<MatmulForward, "weight">): void {
  const { x, y, rows, xRow = 0, yRow = 0, yColumn = 0, accumulate = false, residual } = call;
  const [yRows, yColumns] = matrixShape(y);
  invariant(
    yRow === 0 &&
      yColumn === 0 &&
      (rows ?? matrixShape(x)[0] - xRow) === yRows &&
      yColumns === rope.layout.stride &&
      !accumulate &&
      !residual,
    () => `matmul: ${y.label} ${yRows} × ${yColumns} is not turned whole and by itself`,
  );
  checkRope(rope, y);
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
