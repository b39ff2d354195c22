// A frozen weight as plain numbers in scratch memory, so that one product serves every way of storing it.
import { invariant } from "../base/error.ts";
import { foldGrid, type Shader, workgroups } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import { byteLength, elementCount, type Tensor, write } from "../gpu/tensor.ts";
import gridLib from "../../shaders/lib/grid.wgsl?raw";
import nf4Lib from "../../shaders/lib/nf4.wgsl?raw";
import selectLib from "../../shaders/lib/nf4-select.wgsl?raw";
import sharedLib from "../../shaders/lib/nf4-shared.wgsl?raw";
import storeF16Lib from "../../shaders/lib/store-eight-f16.wgsl?raw";
import storeF32Lib from "../../shaders/lib/store-eight-f32.wgsl?raw";
import shader from "../../shaders/dequantize.wgsl?raw";
import {
  checkMemory,
  type Nf4Weight,
  type PlainWeight,
  quadType,
  type WeightKind,
  WIDEN_SOURCE,
} from "./weight.ts";
import type { Tunable } from "./tunable.ts";

const bindings = { codes: "read", absmax: "read", source: "read", out: "read_write" } as const;
const params = { start: "u32", count: "u32" } as const;

function shaderOf(
  kind: WeightKind,
  out: "f32" | "f16",
  lookUp: string,
): Shader<keyof typeof bindings, keyof typeof params> {
  const store = out === "f32" ? storeF32Lib : storeF16Lib;
  return {
    label: kind === "native" ? "dequantize" : `dequantize-${kind}`,
    source: [gridLib, nf4Lib, lookUp, WIDEN_SOURCE[kind], store, shader],
    bindings,
    params,
  };
}

/** How work is shared out. */
interface Way {
  readonly lookUp: string;
  readonly threads: number;
  /** Times eight weights that a thread makes. */
  readonly eights: number;
}

const SLOT = "nf4.dequantize";

/** Software adapters are fastest with the first; GPUs want more threads, more to read at once, or a table. */
const BASELINE: Way = { lookUp: selectLib, threads: 64, eights: 1 };
const WAYS: Readonly<Record<string, Way>> = {
  select: BASELINE,
  "select x4": { lookUp: selectLib, threads: 256, eights: 4 },
  "table x2": { lookUp: sharedLib, threads: 256, eights: 2 },
  "table x4": { lookUp: sharedLib, threads: 256, eights: 4 },
};

const shaders = new Map<string, ReturnType<typeof shaderOf>>();

/** One object for each text, by which compiled pipelines are found again. */
function shaderFor(kind: WeightKind, out: "f32" | "f16", { lookUp }: Way) {
  const key = `${kind} ${out} ${lookUp}`;
  const known = shaders.get(key) ?? shaderOf(kind, out, lookUp);
  shaders.set(key, known);
  return known;
}

/** Tries the ways on the largest matrix of a block. */
export const DEQUANTIZE_TUNABLE: Tunable = {
  slot: SLOT,
  candidates: () => Object.keys(WAYS),
  trial(gpu, { hidden, intermediate, act }) {
    const shape = [2 * intermediate, hidden] as const;
    const size = elementCount(shape);
    const codes = gpu.allocate("trial.codes", "u32", [size / 8]);
    const absmax = gpu.allocate("trial.absmax", "f32", [size / 64]);
    // As much as one binding shows of the numbers: a weight of any size is made in parts.
    const most = Math.floor(gpu.maxTensorBytes / 4 / 64) * 64;
    const out = gpu.allocate("trial.out", act, [Math.min(size, most)]);
    write(
      gpu,
      codes,
      Uint32Array.from({ length: size / 8 }, (_, i) => Math.imul(i + 1, 0x9e3779b1)),
    );
    write(
      gpu,
      absmax,
      Float32Array.from({ length: size / 64 }, (_, i) => 0.02 + (i % 64) / 1024),
    );
    return {
      tensors: [codes, absmax, out],
      record: (recorder) => {
        const weight = { codes, absmax, shape };
        dequantize(recorder, { weight, out, count: elementCount(out.shape) });
      },
      results: [out],
      tolerance: 0,
    };
  },
};

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
  const dtype = out.dtype === "f16" ? "f16" : "f32";
  checkMemory("dequantize", weight);
  const way = WAYS[recorder.choice(SLOT) ?? ""] ?? BASELINE;
  const { threads, eights } = way;
  const outBytes = byteLength(dtype, [count]);
  const stored = dtype === "f16" ? "vec4u" : "vec4f";
  const common = {
    params: { start, count },
    grid: foldGrid(workgroups(count, threads * eights * 8)),
    constants: { THREADS: threads, EIGHTS: eights },
    flops: count,
  };
  if ("codes" in weight) {
    const { codes, absmax } = weight;
    recorder.dispatch(shaderFor("native", dtype, way), {
      entry: "nf4",
      types: { Out: dtype, Stored: stored, Quad: "vec4f" },
      buffers: { codes, absmax, out },
      bytes: count * (1 / 2 + 4 / 64) + outBytes,
      ...common,
    });
    return;
  }
  recorder.dispatch(shaderFor(weight.kind, dtype, way), {
    entry: "plain",
    types: { Out: dtype, Stored: stored, Quad: quadType(weight) },
    buffers: { source: weight.tensor, out },
    bytes: (count / size) * weight.tensor.bytes + outBytes,
    ...common,
  });
}
