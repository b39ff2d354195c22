// What npm run bench:peers makes for the programs it compares with, without any of them.
import { expect, test } from "vitest";
import { makeQwen3, type Qwen3Sizes } from "../../bench/peers/gguf.ts";
import { relativeDifference, takeTurns } from "../../bench/peers/measure.ts";
import { squareNf4, squareWeight, transpose } from "../../bench/peers/numbers.ts";
import { encodeModel } from "../../bench/peers/onnx.ts";
import { formatTable } from "../../bench/peers/table.ts";
import { openModelFolder } from "../../src/engine/model-folder.ts";
import { requireTensor, readSlices } from "../../src/model/files/checkpoint-files.ts";
import { memoryFolder } from "../formats/gguf-file.ts";

const QWEN3: Qwen3Sizes = {
  layers: 2,
  hidden: 64,
  heads: 2,
  kvHeads: 1,
  headSize: 32,
  intermediate: 128,
  vocab: 300,
  context: 128,
};

test("the GGUF model is a Qwen3 to our own reader, and a letter is the token of its byte", async () => {
  const bytes = makeQwen3(QWEN3, 1);
  const { architecture, tokenizer, files } = await openModelFolder(memoryFolder("m.gguf", bytes));
  const { family, hidden, layers, heads, kvHeads, headSize, intermediate, vocab } = architecture;
  expect({ hidden, layers, heads, kvHeads, headSize, intermediate, vocab }).toEqual({
    hidden: 64,
    layers: 2,
    heads: 2,
    kvHeads: 1,
    headSize: 32,
    intermediate: 128,
    vocab: 300,
  });
  expect(family.modelType).toBe("qwen3");
  expect(architecture.epsilon).toBe(1e-6);
  expect(tokenizer.encode("az {\n")).toEqual([97, 122, 32, 123, 10]);

  const down = requireTensor(files, "model.layers.1.mlp.down_proj.weight", [64, 128]);
  const values: number[] = [];
  for await (const slice of readSlices(down)) {
    values.push(...new Float32Array(slice.bytes.slice().buffer));
  }
  const meanSquare = values.reduce((sum, value) => sum + value * value, 0) / values.length;
  expect(values).toHaveLength(64 * 128);
  expect(meanSquare * 128).toBeGreaterThan(0.9);
  expect(meanSquare * 128).toBeLessThan(1.1);
});

test("an ONNX model has its fields where onnx.proto puts them", () => {
  const data = new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, 6).buffer);
  const bytes = encodeModel({
    nodes: [
      {
        op: "MatMulBnb4",
        domain: "com.microsoft",
        inputs: ["x", "w"],
        outputs: ["y"],
        attributes: { K: 300 },
      },
    ],
    constants: [{ name: "w", type: "f32", shape: [3, 2], data }],
    inputs: [{ name: "x", type: "f16", shape: [1, 300] }],
    outputs: [{ name: "y", type: "f32", shape: [1, 2] }],
  });
  const model = parse(bytes);
  expect(model.get(1)).toEqual([8]); // ir_version
  const opsets = model.get(8)?.map((opset) => parse(opset as Uint8Array));
  expect(opsets?.map((opset) => [letters(opset, 1), opset.get(2)])).toEqual([
    [[""], [17]],
    [["com.microsoft"], [1]],
  ]);

  const graph = inside(model, 7);
  const node = inside(graph, 1);
  expect([letters(node, 1), letters(node, 2)]).toEqual([["x", "w"], ["y"]]);
  expect([letters(node, 4), letters(node, 7)]).toEqual([["MatMulBnb4"], ["com.microsoft"]]);
  const attribute = inside(node, 5);
  expect([letters(attribute, 1), attribute.get(3), attribute.get(20)]).toEqual([["K"], [300], [2]]);

  const weight = inside(graph, 5);
  expect([weight.get(1), weight.get(2), letters(weight, 8)]).toEqual([[3, 2], [1], ["w"]]);
  expect(weight.get(9)).toEqual([data]);

  const x = inside(graph, 11);
  const tensor = inside(inside(x, 2), 1);
  const sizes = inside(tensor, 2)
    .get(1)
    ?.map((size) => parse(size as Uint8Array).get(1));
  expect([letters(x, 1), tensor.get(1), sizes]).toEqual([["x"], [10], [[1], [300]]]);
  expect(letters(inside(graph, 12), 1)).toEqual(["y"]);
});

test("products of made-up matrices stay as large as what they are given", () => {
  const size = 64;
  const weight = squareWeight(size, 1);
  const meanSquare = weight.reduce((sum, value) => sum + value * value, 0) / size ** 2;
  expect(meanSquare * size).toBeCloseTo(1, 1);
  const { codes, absmax } = squareNf4(size, 1);
  expect([codes.length, absmax.length]).toEqual([size ** 2 / 2, size ** 2 / 64]);
  expect([...transpose(Float32Array.of(1, 2, 3, 4, 5, 6), 2, 3)]).toEqual([1, 4, 2, 5, 3, 6]);
});

test("both sides are warmed up and then measured in turn", async () => {
  const order: string[] = [];
  const side = (name: string) => ({
    run() {
      order.push(name);
      return Promise.resolve({ milliseconds: order.length, cpuMilliseconds: 0 });
    },
  });
  const sides = { theirs: side("theirs"), ours: side("ours") };
  const pair = await takeTurns(sides, { repetitions: 2 });
  expect(order).toEqual(["theirs", "ours", "theirs", "ours", "theirs", "ours"]);
  expect(pair.ours.map(({ milliseconds }) => milliseconds)).toEqual([4, 6]);
});

test("a difference is told as a share of the largest number, and NaN where it cannot be", () => {
  expect(relativeDifference([1, 2.5], [1, 2])).toBe(0.25);
  expect(relativeDifference([1, Number.NaN], [1, 2])).toBeNaN();
  expect(relativeDifference([1], [1, 2])).toBeNaN();
});

test("a row that misses its figure says so, and one that was not measured says why", () => {
  const subject = { peer: "p", what: "w", shape: "1 × 1", unit: "GFLOP/s", required: 3 };
  const table = formatTable([
    { ...subject, theirs: 1, ours: 2, ratio: 2 },
    { ...subject, theirs: 1, ours: 4, ratio: 4 },
    { ...subject, failure: "ended with SIGSEGV" },
  ]);
  expect(table).toContain("2.00×");
  expect(table).toMatch(/2\.00×.*≥ 3× NO/);
  expect(table).toMatch(/4\.00×.*≥ 3× yes/);
  expect(table).toContain("p, w, 1 × 1: ended with SIGSEGV");
});

/** Protobuf's wire format, by field: numbers of wire type 0, bytes of wire type 2. */
function parse(bytes: Uint8Array): Map<number, (number | Uint8Array)[]> {
  const fields = new Map<number, (number | Uint8Array)[]>();
  let at = 0;
  const next = () => {
    let value = 0;
    for (let shift = 1; ; shift *= 128) {
      const byte = bytes[at++];
      if (byte === undefined) throw new Error("a number is cut short");
      value += (byte & 127) * shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = next();
    const value = next();
    const isBytes = key % 8 === 2;
    if (!isBytes && key % 8 !== 0) throw new Error(`wire type ${key % 8}`);
    const field = Math.floor(key / 8);
    fields.set(field, [
      ...(fields.get(field) ?? []),
      isBytes ? bytes.slice(at, at + value) : value,
    ]);
    if (isBytes) at += value;
  }
  return fields;
}

function inside(fields: ReturnType<typeof parse>, field: number): ReturnType<typeof parse> {
  const [only] = fields.get(field) ?? [];
  if (!(only instanceof Uint8Array)) throw new Error(`no message in field ${field}`);
  return parse(only);
}

function letters(fields: ReturnType<typeof parse>, field: number): string[] {
  return (fields.get(field) ?? []).map((value) => new TextDecoder().decode(value as Uint8Array));
}
