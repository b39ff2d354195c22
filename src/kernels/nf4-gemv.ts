// The product of few rows with an NF4 weight that is never unpacked into memory.
import { invariant } from "../base/error.ts";
import { type Shader, workgroups } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import { elementCount } from "../gpu/tensor.ts";
import nf4Lib from "../../shaders/lib/nf4.wgsl?raw";
import shader from "../../shaders/nf4-gemv.wgsl?raw";
import type { Nf4Weight } from "./dequantize.ts";
import { forwardParams, type MatmulForward } from "./matmul.ts";

const gemv = {
  label: "nf4-gemv",
  source: [nf4Lib, shader],
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
  params: {
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
  },
} as const satisfies Shader<string, string>;

// A GPU reads one output's codes with neighboring threads; a CPU runs them one after the other.
const GPU_LANES = 16;
const CPU_LANES = 1;

export interface Nf4Gemv extends Omit<MatmulForward, "weight"> {
  readonly weight: Nf4Weight;
  /** Threads that share an output: a power of 2 up to 64. As suits the adapter, if not given. */
  readonly lanes?: number;
}

/** What `matmulForward` does, unpacking every weight once a row: for a token or a few. */
export function nf4Gemv(recorder: Recorder, call: Nf4Gemv): void {
  const { x, weight, y, lora, residual, bias } = call;
  const { codes, absmax, shape } = weight;
  const isSoftware = recorder.gpu.info.isFallbackAdapter;
  const lanes = call.lanes ?? (isSoftware ? CPU_LANES : GPU_LANES);
  const size = elementCount(shape);
  invariant(
    elementCount(codes.shape) * 8 >= size && elementCount(absmax.shape) * 64 >= size,
    () => `nf4Gemv: ${codes.label} and ${absmax.label} are too short for ${size} weights`,
  );
  const params = forwardParams(call, shape);
  const { rows, inputs, outputs, rank } = params;
  recorder.dispatch(gemv, {
    entry: "forward",
    types: { In: x.dtype, Out: y.dtype },
    constants: { HAS_LORA: lora !== undefined, LANES: lanes },
    // The shader names h, b, residual and bias even where it does not read them; any memory will do.
    buffers: {
      x,
      codes,
      absmax,
      h: lora?.h ?? x,
      b: lora?.b ?? x,
      y,
      residual: residual ?? x,
      bias: bias ?? x,
    },
    params,
    grid: [workgroups(outputs, 64 / lanes), rows],
    flops: 2 * rows * outputs * (inputs + rank),
  });
}
