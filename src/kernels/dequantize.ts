// A frozen weight as plain numbers in scratch memory, so that one product serves every way of storing it.
import { invariant } from "../base/error.ts";
import { foldGrid, type Shader, workgroups } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import { elementCount, type Tensor } from "../gpu/tensor.ts";
import gridLib from "../../shaders/lib/grid.wgsl?raw";
import nf4Lib from "../../shaders/lib/nf4.wgsl?raw";
import shader from "../../shaders/dequantize.wgsl?raw";
import { type PlainWeight, quadType, WIDEN_SOURCE, type WeightKind } from "./matmul.ts";

/** A weight as NF4; row-major, one row an output. Blocks of 64 run over the flat array. */
export interface Nf4Weight {
  /** u32 [⌈outputs · inputs / 8⌉]: eight codes a word, in bitsandbytes' order. */
  readonly codes: Tensor;
  /** f32 [⌈outputs · inputs / 64⌉]. */
  readonly absmax: Tensor;
  readonly shape: readonly [outputs: number, inputs: number];
}

const bindings = { codes: "read", absmax: "read", source: "read", out: "read_write" } as const;
const params = { start: "u32", count: "u32" } as const;

function shaderOf(kind: WeightKind): Shader<keyof typeof bindings, keyof typeof params> {
  return {
    label: kind === "native" ? "dequantize" : `dequantize-${kind}`,
    source: [gridLib, nf4Lib, WIDEN_SOURCE[kind], shader],
    bindings,
    params,
  };
}

const shaders: Readonly<Record<WeightKind, ReturnType<typeof shaderOf>>> = {
  native: shaderOf("native"),
  "packed-f16": shaderOf("packed-f16"),
  "packed-bf16": shaderOf("packed-bf16"),
};

// Weights that one workgroup writes: 64 threads of 8.
const WORKGROUP_WEIGHTS = 512;

export interface Dequantize {
  readonly weight: Nf4Weight | PlainWeight;
  /** f32 or f16, [≥ count]. */
  readonly out: Tensor;
  /** First element of the flat weight, a multiple of 64. */
  readonly start?: number;
  /** A multiple of 4; everything from `start` on, if not given. */
  readonly count?: number;
}

/** out[i] = W.flat[start + i] for i < count: computed in f32, then rounded to out's dtype. */
export function dequantize(recorder: Recorder, call: Dequantize): void {
  const { weight, out, start = 0 } = call;
  const size = elementCount(weight.shape);
  const count = call.count ?? size - start;
  const label = "codes" in weight ? weight.codes.label : weight.tensor.label;
  invariant(
    start % 64 === 0 &&
      count % 4 === 0 &&
      start + count <= size &&
      count <= elementCount(out.shape),
    () => `dequantize: ${count} from ${start} of ${label}, ${size} weights, into ${out.label}`,
  );
  const common = {
    params: { start, count },
    grid: foldGrid(workgroups(count, WORKGROUP_WEIGHTS)),
    flops: count,
  };
  if ("codes" in weight) {
    const { codes, absmax } = weight;
    invariant(
      elementCount(codes.shape) * 8 >= size && elementCount(absmax.shape) * 64 >= size,
      () => `dequantize: ${codes.label} and ${absmax.label} are too short for ${size} weights`,
    );
    recorder.dispatch(shaders.native, {
      entry: "nf4",
      types: { Out: out.dtype, Quad: "vec4f" },
      buffers: { codes, absmax, out },
      ...common,
    });
    return;
  }
  recorder.dispatch(shaders[weight.kind], {
    entry: "plain",
    types: { Out: out.dtype, Quad: quadType(weight) },
    buffers: { source: weight.tensor, out },
    ...common,
  });
}
