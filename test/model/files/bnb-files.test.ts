// Files that transformers and bitsandbytes wrote, read; and files with every fault, refused.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { parseSafetensorsHeader, type SafetensorsDtype } from "../../../src/formats/safetensors.ts";
import { encodeFloats } from "../../../src/formats/float.ts";
import { openFolder } from "../../../src/hosts/node.ts";
import { withBnbTensors } from "../../../src/model/files/bnb-files.ts";
import {
  type ModelFiles,
  openModelFiles,
  type SourceTensor,
} from "../../../src/model/files/checkpoint-files.ts";
import { dequantize, dequantizeAbsmax } from "../../reference/nf4.ts";

const IN_4_BITS = { quantization_config: { quant_method: "bitsandbytes", load_in_4bit: true } };
const fixtures = fileURLToPath(new URL("../../fixtures/bnb/", import.meta.url));
const open = (name: string) => openModelFiles(openFolder(`${fixtures}${name}`));
const openBnb = async (name: string) => withBnbTensors(await open(name), IN_4_BITS, "config.json");

/** Every tensor of a fixture, raw. */
function rawTensors(name: string): Map<string, Raw> {
  const bytes = readFileSync(`${fixtures}${name}/model.safetensors`);
  const { tensors } = parseSafetensorsHeader(bytes, bytes.length, name);
  return new Map(
    tensors.map(({ name: tensor, dtype, shape, start, end }) => [
      tensor,
      { dtype, shape, bytes: Uint8Array.from(bytes.subarray(start, end)) },
    ]),
  );
}

interface Raw {
  dtype: SafetensorsDtype;
  shape: readonly number[];
  bytes: Uint8Array<ArrayBuffer>;
}

test("weights in every way of storing them have the bytes that bitsandbytes dequantizes", async () => {
  const { tensors } = await openBnb("kinds");
  const expected = rawTensors("dequantized");
  expect(new Set(tensors.keys())).toEqual(new Set(expected.keys()));
  for (const [name, { dtype, shape, bytes }] of expected) {
    const tensor = tensors.get(name)!;
    expect({ name, dtype: tensor.dtype, shape: tensor.shape }).toEqual({ name, dtype, shape });
    expect({ name, bytes: await tensor.read(0, sizeOf(tensor)) }).toEqual({ name, bytes });
  }
});

test("any range of a weight is that range of all of it", async () => {
  const { tensors } = await openBnb("kinds");
  for (const name of ["nf4.weight", "nf4_in_f32.weight", "fp4_blocks_of_256.weight"]) {
    const tensor = tensors.get(name)!;
    const all = await tensor.read(0, sizeOf(tensor));
    const bytes = all.length / sizeOf(tensor);
    for (const [start, end] of [
      [0, 1],
      [1, 64],
      [63, 65],
      [255, 700],
      [64, 1536],
    ] as const) {
      expect(await tensor.read(start, end)).toEqual(all.subarray(start * bytes, end * bytes));
    }
  }
});

test("what is NF4 in blocks of 64 goes as it is, and only that", async () => {
  const { tensors } = await openBnb("kinds");
  const asItIs = [...tensors.values()].filter(({ nf4 }) => nf4).map(({ name }) => name);
  expect(asItIs.toSorted()).toEqual(
    [
      "nf4",
      "nf4_f16",
      "nf4_f32",
      "nf4_in_bf16",
      "nf4_in_f32",
      "nf4_short_block",
      "nf4_unnested",
    ].map((name) => `${name}.weight`),
  );
  const raw = rawTensors("kinds");
  for (const name of ["nf4_f32.weight", "nf4_in_f32.weight"]) {
    const { nf4 } = tensors.get(name)!;
    const codes = await nf4!.readCodes(0, 768);
    expect(codes).toEqual(raw.get(name)!.bytes);
    expect(await nf4!.readCodes(63, 257)).toEqual(codes.subarray(63, 257));
    // The same by the reference, which has its own tables.
    const state = JSON.parse(
      new TextDecoder().decode(raw.get(`${name}.quant_state.bitsandbytes__nf4`)!.bytes),
    ) as { nested_offset: number };
    const nested = new Float32Array(raw.get(`${name}.nested_absmax`)!.bytes.buffer);
    const absmax = dequantizeAbsmax(raw.get(`${name}.absmax`)!.bytes, nested, state.nested_offset);
    expect(await nf4!.readAbsmax()).toEqual(absmax);
    if (name !== "nf4_f32.weight") continue;
    const values = encodeFloats(dequantize(codes, absmax), "F32");
    expect(await tensors.get(name)!.read(0, 1536)).toEqual(values);
  }
});

test.each(["nested", "unnested"])(
  "the model that transformers saved is whole again: %s",
  async (name) => {
    const [plain, files] = [await open("plain"), await openBnb(name)];
    expect(kinds(files)).toEqual(kinds(plain));
    expect(files.totalBytes).toBe(plain.totalBytes);
    // What was not quantized is as it was.
    const embedding = "model.embed_tokens.weight";
    expect(await files.tensors.get(embedding)!.read(0, 2560)).toEqual(
      await plain.tensors.get(embedding)!.read(0, 2560),
    );
    expect([...files.tensors.values()].filter(({ nf4 }) => nf4).length).toBe(7);
  },
);

test("without quantization_config a plain folder is what it was", async () => {
  const plain = await open("plain");
  const files = await withBnbTensors(plain, {}, "config.json");
  expect([...files.tensors.values()]).toEqual([...plain.tensors.values()]);
});

describe("a file is refused with its place and the fault where", () => {
  const W = "nf4.weight";
  const state = `${W}.quant_state.bitsandbytes__nf4`;
  const cases: [string, Change, RegExp][] = [
    ["the codes are gone", without(W), /has nf4\.weight\.\w+, and DIR has no nf4\.weight/],
    ["the state is gone", without(state), /nf4\.weight has \w+ beside it, and no quant_state/],
    [
      "the weight stands alone",
      (tensors) => {
        for (const name of tensors.keys()) if (name.startsWith(`${W}.`)) tensors.delete(name);
      },
      /nf4\.weight is U8, and no nf4\.weight\.quant_state says/,
    ],
    ["there are no scales", without(`${W}.absmax`), /nf4\.weight has no absmax beside it/],
    ["there is no table", without(`${W}.quant_map`), /nf4\.weight has no quant_map beside it/],
    ["nested scales are gone", without(`${W}.nested_absmax`), /no nested_absmax beside it/],
    ["the nested table is gone", without(`${W}.nested_quant_map`), /no nested_quant_map beside/],
    ["a scale is missing", resized(`${W}.absmax`, "U8", [23]), /absmax is U8 \[23\]; U8 \[24\] is/],
    ["nested scales are floats", resized(`${W}.absmax`, "F32", [24]), /absmax is F32 \[24\]; U8/],
    [
      "plain scales are bytes",
      resized("nf4_unnested.weight.absmax", "U8", [24]),
      /nf4_unnested\.weight\.absmax is U8 \[24\]; F32 \[24\] is needed/,
    ],
    ["codes are missing", resized(W, "U8", [767, 1]), /767 bytes of codes; \[24, 64\] takes 768/],
    ["the table is another", resized(`${W}.quant_map`, "F32", [16]), /quant_map is not the table/],
    ["the table is short", resized(`${W}.nested_quant_map`, "F32", [255]), /\[255\]; F32 \[256\]/],
    [
      "it is of two types at once",
      (tensors) => void tensors.set(`${W}.quant_state.bitsandbytes__fp4`, tensors.get(state)!),
      /nf4\.weight is said to be both nf4 and fp4/,
    ],
    [
      "the state is cut off",
      (tensors) => {
        const raw = tensors.get(state)!;
        tensors.set(state, { ...raw, shape: [50], bytes: raw.bytes.slice(0, 50) });
      },
      /nf4\.weight\.quant_state\.bitsandbytes__nf4 is not JSON/,
    ],
    [
      "weights are in 8 bits",
      (tensors) =>
        void tensors.set("x.SCB", { dtype: "F32", shape: [1], bytes: new Uint8Array(4) }),
      /x\.SCB: weights in 8 bits \(LLM\.int8\)/,
    ],
  ];
  test.each(cases)("%s", async (_, change, fault) => {
    const tensors = rawTensors("kinds");
    change(tensors);
    const read = withBnbTensors(inMemory(tensors), IN_4_BITS, "DIR/config.json");
    await expect(read).rejects.toThrow(fault);
    await expect(read).rejects.toThrow("DIR/");
  });
});

type Change = (tensors: Map<string, Raw>) => void;

function without(name: string): Change {
  return (tensors) => void tensors.delete(name);
}

function resized(name: string, dtype: SafetensorsDtype, shape: readonly number[]): Change {
  return (tensors) => void tensors.set(name, { dtype, shape, bytes: new Uint8Array(8192) });
}

/** Name, type and shape of every tensor. */
function kinds({ tensors }: ModelFiles): string[] {
  return [...tensors.values()]
    .map(({ name, dtype, shape }) => `${name} ${dtype} [${shape.join()}]`)
    .toSorted();
}

/** Tensors as if a folder held them. */
function inMemory(raws: ReadonlyMap<string, Raw>): ModelFiles {
  const tensors = [...raws].map(([name, { dtype, shape, bytes }]): [string, SourceTensor] => {
    const unit = bytes.length / sizeOf({ shape });
    const read = async (start: number, end: number) => bytes.slice(start * unit, end * unit);
    return [name, { name, dtype, shape, place: "DIR/model.safetensors", read }];
  });
  return { path: "DIR", tensors: new Map(tensors), totalBytes: 0 };
}

function sizeOf({ shape }: { shape: readonly number[] }): number {
  return shape.reduce((product, size) => product * size, 1);
}
