// The operands of an adapter's low-rank products: what they are, that they fit, and what a shader is told.
import { invariant } from "../base/error.ts";
import { matrixShape, type Tensor } from "../gpu/tensor.ts";

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

/** `end_0`…`end_2` of a shader's parameters: the last segment ends with the outputs. */
export function segmentParams(segmentEnds: readonly number[], outputs: number) {
  const [first = outputs, second = outputs, third = outputs] = segmentEnds;
  return { end_0: first, end_1: second, end_2: third };
}

/** `scale_0`…`scale_3` of a shader's parameters: one a segment. */
export function scaleParams(scales: readonly number[] = []) {
  const [first = 0, second = 0, third = 0, fourth = 0] = scales;
  return { scale_0: first, scale_1: second, scale_2: third, scale_3: fourth };
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

/** Checks an adapter's part of y = x · Wᵀ. */
export function checkLoraForward(lora: LoraForward, rows: number, outputs: number) {
  const { h, b, rank, segmentEnds } = lora;
  checkSegments(segmentEnds, outputs);
  checkFactor(b, outputs, rank);
  checkLow(h, rows, rank, segmentEnds.length);
}

/** Checks an adapter's part of dx = dy · W. */
export function checkLoraBackward(
  { dh, a, rank, segments }: LoraBackward,
  rows: number,
  inputs: number,
) {
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
