// Two NF4 weights expanded in one dispatch: for small ones, where the dispatch costs more than the work.
import dequantizePairText from "../../shaders/dequantize-pair.wgsl?raw";
import grid from "../../shaders/lib/grid.wgsl?raw";
import nf4 from "../../shaders/lib/nf4.wgsl?raw";
import { invariant } from "../base/error.ts";
import { foldGrid, type Shader, workgroups } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import { elementCount, type Tensor } from "../gpu/tensor.ts";
import { checkMemory, type Nf4Weight } from "./weight.ts";

// Weights that one workgroup makes: 64 threads of 8.
const WORKGROUP_WEIGHTS = 512;

const shader = {
  label: "dequantize-pair",
  source: [grid, nf4, dequantizePairText],
  bindings: {
    first_codes: "read",
    first_absmax: "read",
    first_out: "read_write",
    second_codes: "read",
    second_absmax: "read",
    second_out: "read_write",
  },
  params: { first_count: "u32", second_count: "u32", second_workgroup: "u32" },
} as const satisfies Shader<string, string>;

/** A whole NF4 weight, a multiple of 8 numbers, and where they go: f32 or f16, [≥ outputs · inputs]. */
export interface Expansion {
  readonly weight: Nf4Weight;
  readonly out: Tensor;
}

/** `dequantize` of both, into tensors of one type. */
export function dequantizePair(recorder: Recorder, first: Expansion, second: Expansion): void {
  const firstCount = countOf(first, first.out);
  const secondCount = countOf(second, first.out);
  const firstGroups = workgroups(firstCount, WORKGROUP_WEIGHTS);
  recorder.dispatch(shader, {
    entry: "expand",
    types: { Out: first.out.dtype },
    buffers: {
      first_codes: first.weight.codes,
      first_absmax: first.weight.absmax,
      first_out: first.out,
      second_codes: second.weight.codes,
      second_absmax: second.weight.absmax,
      second_out: second.out,
    },
    params: {
      first_count: firstCount,
      second_count: secondCount,
      second_workgroup: firstGroups,
    },
    grid: foldGrid(firstGroups + workgroups(secondCount, WORKGROUP_WEIGHTS)),
    flops: firstCount + secondCount,
  });
}

function countOf({ weight, out }: Expansion, { dtype }: Tensor): number {
  const count = elementCount(weight.shape);
  checkMemory("dequantizePair", weight);
  invariant(
    count % 8 === 0 && elementCount(out.shape) >= count && out.dtype === dtype,
    () =>
      `dequantizePair: ${count} weights of ${weight.codes.label} into ${out.dtype} ${out.label}`,
  );
  return count;
}
