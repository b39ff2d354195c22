// ONNX Runtime's WebGPU provider: MatMulBnb4 (NF4) forward, and plain products forward and to dX.
import { decodeF16, encodeF16 } from "../../../src/formats/float.ts";
import { relativeDifference, type Taken } from "../measure.ts";
import { squareNf4, squareWeight, transpose, uniform } from "../numbers.ts";
import { encodeModel, type OnnxConstant, type OnnxNode } from "../onnx.ts";
import { OurProducts, productSizes, type ProductTask } from "../ours/products.ts";
import { Theirs } from "../theirs.ts";
import { type Bench, compare } from "./suite.ts";

const PEER = "onnxruntime-node 1.30.0";
// Products are summed in another order than ours; f16 results are rounded after each link of the chain.
const TOLERANCE = { f32: 1e-4, f16: 2e-2 } as const;

interface Case {
  readonly kind: "forward" | "backward";
  readonly weight: "nf4" | "f32" | "f16";
  readonly type: "f32" | "f16";
  readonly rows: number;
  readonly repeats: number;
  readonly required?: number | undefined;
}

export async function benchOnnxRuntime(bench: Bench): Promise<void> {
  const size = bench.isSoftware ? 1024 : 4096;
  const types = bench.gpu.hasF16 ? (["f32", "f16"] as const) : (["f32"] as const);
  const cases = types.flatMap((type) => casesOf(type, bench.isSoftware));
  let theirs: Theirs | undefined;
  for (const one of cases) {
    const weight = one.weight === "nf4" ? "NF4" : one.weight;
    const what = `${weight} · ${one.type} ${one.kind === "forward" ? "forward" : "dX"}`;
    const shape = `${one.rows} × ${size} × ${size}`;
    const subject = { peer: PEER, what, shape, unit: "GFLOP/s", required: one.required };
    await compare(bench, subject, async () => {
      theirs ??= await Theirs.start("ort.mjs", bench.place);
      return prepareCase(bench, theirs, one, size);
    });
  }
  theirs?.end();
}

function casesOf(type: "f32" | "f16", isSoftware: boolean): Case[] {
  const repeats = (rows: number) => (isSoftware ? (rows === 1 ? 32 : 1) : rows === 1 ? 256 : 32);
  const nf4 = [1, 32, 128, 512].map((rows) => ({
    kind: "forward" as const,
    weight: "nf4" as const,
    type,
    rows,
    repeats: repeats(rows),
    required: rows === 32 ? undefined : 1,
  }));
  const plain = (["forward", "backward"] as const).map((kind) => ({
    kind,
    weight: type,
    type,
    rows: 512,
    repeats: repeats(512),
  }));
  return [...nf4, ...plain];
}

async function prepareCase(bench: Bench, theirs: Theirs, one: Case, size: number) {
  const { kind, type, rows, repeats } = one;
  const x = uniform(rows * size, 1, 1);
  const weight = one.weight === "nf4" ? squareNf4(size, 2) : squareWeight(size, 2);
  const task = { kind, type, rows, size, repeats, x, weight };
  const { adapter } = await theirs.call<{ adapter: string }>("prepare", {
    model: modelOf(task),
    input: type === "f16" ? encodeF16(x) : x,
    shape: [rows, size],
    type,
  });
  await bench.tune(bench.gpu, productSizes(task));
  const ours = await OurProducts.create(bench.gpu, task);
  return {
    theirs: { run: () => theirs.call<Taken>("run") },
    ours,
    work: (2 * rows * size * size * repeats) / 1e9,
    difference: async () => {
      const data = await theirs.call<Float32Array | Uint16Array>("result");
      const values = data instanceof Float32Array ? data : decodeF16(new Uint16Array(data));
      return relativeDifference(values, ours.result());
    },
    tolerance: TOLERANCE[type],
    adapter,
    free: () => ours.free(),
  };
}

/** A chain of products with the task's weight, each in the layout that the operator wants. */
function modelOf({ weight, kind, type, rows, size, repeats }: ProductTask): Uint8Array {
  const name = (link: number) => (link === 0 ? "x" : link === repeats ? "y" : `x${link}`);
  const value = (at: number) => ({ name: name(at), type, shape: [rows, size] });
  const operator =
    "codes" in weight
      ? {
          op: "MatMulBnb4",
          domain: "com.microsoft",
          attributes: { K: size, N: size, block_size: 64, quant_type: 1 },
        }
      : { op: "MatMul" };
  const constants = constantsOf({ weight, kind, type, size });
  const nodes = Array.from({ length: repeats }, (_, link): OnnxNode => {
    const inputs = [name(link), ...constants.map((constant) => constant.name)];
    return { ...operator, inputs, outputs: [name(link + 1)] };
  });
  return encodeModel({ nodes, constants, inputs: [value(0)], outputs: [value(repeats)] });
}

function constantsOf({
  weight,
  kind,
  type,
  size,
}: Pick<ProductTask, "weight" | "kind" | "type" | "size">): OnnxConstant[] {
  if ("codes" in weight) {
    const { codes, absmax } = weight;
    return [
      { name: "codes", type: "u8", shape: [codes.length], data: codes },
      floats("absmax", absmax, [absmax.length], type),
    ];
  }
  // y = x · Wᵀ wants Wᵀ [inputs, outputs] as MatMul's right-hand side; dx = dy · W wants W itself.
  const right = kind === "forward" ? transpose(weight, size, size) : weight;
  return [floats("weight", right, [size, size], type)];
}

function floats(
  name: string,
  values: Float32Array<ArrayBuffer>,
  shape: readonly number[],
  type: "f32" | "f16",
): OnnxConstant {
  const data = new Uint8Array((type === "f16" ? encodeF16(values) : values).buffer);
  return { name, type, shape, data };
}
