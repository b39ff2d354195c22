// Products with a frozen weight, each with the adapter's low-rank part added in the same dispatch.
//
// The variant here runs on every adapter; others take its place where they were found to be faster.
import { workgroups } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import shader from "../../shaders/matmul.wgsl?raw";
import { recordLanes } from "./matmul-lanes.ts";
import { recordMatrix } from "./matmul-matrix.ts";
import {
  backwardProduct,
  forwardProduct,
  type MatmulBackward,
  type MatmulForward,
  multipliedIn,
  type Product,
  productShaders,
  productSlot,
} from "./matmul-operands.ts";
import { turnsInEpilogue } from "./matmul-rope.ts";
import { recordTile } from "./matmul-tile.ts";
import { untriedProduct } from "./matmul-untried.ts";
import { ropeForward } from "./rope.ts";

const shaderFor = productShaders({ label: "matmul", files: [shader] });

// Rows and columns of the result that one workgroup makes: 8 × 8 threads of 4 × 4.
const TILE = 32;

/**
 * y[yRow + t, yColumn + n] = Σ_k x[xRow + t, k] · W[n, k] + Σ_j h[xRow + t, segment(n) · rank + j] · B[n, j]
 * for t < rows and n < outputs. Writes y there; with `bias`, plus bias[n]; with `accumulate` or `residual`,
 * plus what that holds; with `rope`, turned as `ropeForward` turns it.
 */
export function matmulForward(recorder: Recorder, call: MatmulForward): void {
  const { rope, ...plain } = call;
  // An NF4 weight has two tensors, and leaves no binding for the positions.
  if (rope && ("codes" in call.weight || !turnsInEpilogue(rope))) {
    record(recorder, forwardProduct(plain));
    ropeForward(recorder, { ...rope, qkv: call.y });
    return;
  }
  record(recorder, forwardProduct(call));
}

/**
 * dx[dxRow + t, k] = Σ_n dy[dyRow + t, dyColumn + n] · W[n, k] + Σ_s mask_s · Σ_j dh[dxRow + t, s · rank + j] · A[s · rank + j, k]
 * for t < rows. Writes dx there, or adds to it.
 */
export function matmulBackward(recorder: Recorder, call: MatmulBackward): void {
  record(recorder, backwardProduct(call));
}

/** Up to so many rows, and more than the one before, each has its choice: see `fusedSlot`. */
export const FUSED_ROWS = [32, 128, 256] as const;

/** The choice that expands a weight before it is multiplied. */
export const EXPAND = "expand";

/**
 * The slot of products of up to so many rows with an NF4 weight: EXPAND, or the variant that unpacks it inside,
 * "tile 64x64x16".
 */
export function fusedSlot(rows: (typeof FUSED_ROWS)[number]): string {
  return `nf4.fused.${rows}`;
}

/**
 * Whether a product of `rows` rows is faster where the weight is unpacked inside it than where it is expanded
 * first, by what was found on this adapter: then give the NF4 weight itself.
 */
export function fusesNf4(recorder: Recorder, rows: number): boolean {
  return fusedVariant(recorder, rows) !== undefined;
}

function fusedVariant(recorder: Recorder, rows: number): string | undefined {
  const range = FUSED_ROWS.find((most) => rows <= most);
  const choice = range && recorder.choice(fusedSlot(range));
  return choice === EXPAND ? undefined : choice;
}

/** The name of the variant that a product is given. */
function variantOf(recorder: Recorder, product: Product): string {
  const fused = product.storage === "nf4" ? fusedVariant(recorder, product.rows) : undefined;
  const chosen = fused ?? recorder.choice(productSlot(product));
  return chosen ?? untriedProduct(recorder.gpu, multipliedIn(product));
}

function record(recorder: Recorder, product: Product): void {
  const variant = variantOf(recorder, product);
  if (recordLanes(recorder, product, variant)) return;
  if (recordTile(recorder, product, variant)) return;
  if (recordMatrix(recorder, product, variant)) return;
  const { entry, types, constants, buffers, params, rows, columns, flops } = product;
  recorder.dispatch(shaderFor(product), {
    entry,
    types: { ...types, Shared: "f32" },
    constants,
    buffers,
    params,
    grid: [workgroups(columns, TILE), workgroups(rows, TILE)],
    flops,
  });
}
