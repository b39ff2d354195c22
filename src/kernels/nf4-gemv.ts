// The product of few rows with an NF4 weight that is never unpacked into memory.
//
// Slot "nf4.gemv" names where the 16 numbers of NF4 are looked up ("select", "shared" or "shuffle", see
// shaders/lib/nf4-*.wgsl) and how many threads share a pair of outputs: "shuffle 32".
import type { Gpu } from "../gpu/device.ts";
import type { Shader } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import { SUBGROUPS } from "../gpu/subgroups.ts";
import { write } from "../gpu/tensor.ts";
import nf4Lib from "../../shaders/lib/nf4.wgsl?raw";
import selectLib from "../../shaders/lib/nf4-select.wgsl?raw";
import sharedLib from "../../shaders/lib/nf4-shared.wgsl?raw";
import shuffleLib from "../../shaders/lib/nf4-shuffle.wgsl?raw";
import shader from "../../shaders/nf4-gemv.wgsl?raw";
import { checkMemory, type Nf4Weight } from "./weight.ts";
import {
  defaultLanes,
  GEMV_LANES,
  GEMV_PARAMS,
  GEMV_SOURCES,
  gemvParts,
  type GemvOperands,
  gemvTrial,
} from "./gemv.ts";
import { fillTrial } from "./trial.ts";
import type { Tunable } from "./tunable.ts";

export const NF4_GEMV_SLOT = "nf4.gemv";

const LOOK_UPS = { select: selectLib, shared: sharedLib, shuffle: shuffleLib } as const;
type LookUp = keyof typeof LOOK_UPS;

function shaderOf(lookUp: LookUp) {
  return {
    label: lookUp === "select" ? "nf4-gemv" : `nf4-gemv-${lookUp}`,
    source: [...GEMV_SOURCES, nf4Lib, LOOK_UPS[lookUp], shader],
    bindings: {
      x: "read",
      codes: "read",
      absmax: "read",
      h: "read",
      b: "read",
      y: "read_write",
      residual: "read",
      bias: "read",
    },
    params: GEMV_PARAMS,
    usesStep: true,
    ...(lookUp === "shuffle" && { enables: [SUBGROUPS.enable] }),
  } as const satisfies Shader<string, string>;
}

const shaders = {
  select: shaderOf("select"),
  shared: shaderOf("shared"),
  shuffle: shaderOf("shuffle"),
} as const;

export interface Nf4Gemv extends GemvOperands {
  readonly weight: Nf4Weight;
}

/** What `matmulForward` does, unpacking every weight once a row: for a token or a few. */
export function nf4Gemv(recorder: Recorder, call: Nf4Gemv): void {
  const { codes, absmax, shape } = call.weight;
  checkMemory("nf4Gemv", call.weight);
  const isAligned = shape[1] % 64 === 0;
  const { lookUp, lanes } = variantOf(recorder);
  const { params, constants, buffers, grid, flops } = gemvParts(call, shape, lanes);
  // Threads of a ragged row do not go together, as a shuffle wants it.
  recorder.dispatch(shaders[isAligned ? lookUp : "select"], {
    entry: "forward",
    types: { In: call.x.dtype, Out: call.y.dtype },
    constants: { ...constants, ALIGNED: isAligned },
    buffers: { ...buffers, codes, absmax },
    params,
    grid,
    flops,
  });
}

/** The variant chosen; where none was, what is known to be best without trying. */
function variantOf(recorder: Recorder): { lookUp: LookUp; lanes: number } {
  const { gpu } = recorder;
  const [named = "", lanes = ""] = (recorder.choice(NF4_GEMV_SLOT) ?? "").split(" ");
  if (isLookUp(named) && GEMV_LANES.includes(Number(lanes)) && runs(gpu, named)) {
    return { lookUp: named, lanes: Number(lanes) };
  }
  return untriedVariant(gpu);
}

/** llvmpipe shuffles within one instruction; SwiftShader, with subgroups of four, is quicker at a table. */
function untriedVariant(gpu: Gpu): { lookUp: LookUp; lanes: number } {
  const shuffles = gpu.info.isFallbackAdapter && runs(gpu, "shuffle");
  return { lookUp: shuffles ? "shuffle" : "shared", lanes: defaultLanes(gpu) };
}

function isLookUp(name: string): name is LookUp {
  return Object.hasOwn(LOOK_UPS, name);
}

/** Whether an adapter runs a variant: shuffles want subgroups that are never smaller than half the table. */
function runs({ hasSubgroups, info }: Gpu, lookUp: LookUp): boolean {
  return lookUp !== "shuffle" || (hasSubgroups && info.subgroupMinSize >= 8);
}

/** A token's product, of a map from the hidden size to four times as much. */
export const NF4_GEMV_TUNABLE: Tunable = {
  slot: NF4_GEMV_SLOT,
  use: "generation",
  candidates(gpu) {
    // A software adapter has one worth trying, and it is known.
    if (gpu.info.isFallbackAdapter) return [];
    const names = ["shared 16", "select 16", "shared 32", "shared 64"];
    return runs(gpu, "shuffle") ? [...names, "shuffle 16", "shuffle 32", "shuffle 64"] : names;
  },
  untried(gpu) {
    const { lookUp, lanes } = untriedVariant(gpu);
    return `${lookUp} ${lanes}`;
  },
  trial(gpu, sizes) {
    const outputs = 4 * sizes.hidden;
    const count = outputs * sizes.hidden;
    const codes = gpu.allocate("trial.codes", "u32", [Math.ceil(count / 8)]);
    const absmax = gpu.allocate("trial.absmax", "f32", [Math.ceil(count / 64)]);
    fillTrial(gpu, codes);
    write(gpu, absmax, new Float32Array(absmax.bytes / 4).fill(0.05));
    const weight: Nf4Weight = { codes, absmax, shape: [outputs, sizes.hidden] };
    return gemvTrial(gpu, sizes, outputs, [codes, absmax], (recorder, x, y) =>
      nf4Gemv(recorder, { x, y, weight }),
    );
  },
};
