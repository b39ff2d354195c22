import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  BNB_CODES,
  dequantizeCodes,
  encodeBnbState,
  isBnb4bit,
  isCodeTable,
  parseBnbState,
  withBnbConfig,
} from "../../src/formats/bnb.ts";
import numerics from "../fixtures/numerics.json" with { type: "json" };

const fixtures = new URL("../fixtures/bnb/", import.meta.url);
const text = (name: string) => readFileSync(new URL(name, fixtures), "utf8");
const config = (name: string) => JSON.parse(text(`${name}/config.json`)) as Record<string, unknown>;

/** What bitsandbytes wrote, cut out of its file. */
const states = [...text("kinds/model.safetensors").matchAll(/\{"quant_type".*?\}/gs)].map(
  ([state]) => state,
);

const nested = states.find((state) => /"nf4".*nested/.test(state)) ?? "";

test("there are eleven states to read", () => {
  expect(states.length).toBe(11);
  expect(nested).not.toBe("");
});

test.each(states)("what was read is written again to the byte: %s", (state) => {
  const quantType = state.includes('"nf4"') ? "nf4" : "fp4";
  const parsed = parseBnbState(new TextEncoder().encode(state), quantType, "m");
  expect(new TextDecoder().decode(encodeBnbState(parsed))).toBe(state);
});

test.each([
  [1, "1.0"],
  [0, "0.0"],
  [0.5, "0.5"],
  [1.25e-4, "0.000125"],
  [Math.fround(1e-4), "9.999999747378752e-05"],
  [Math.fround(1e-10), "1.000000013351432e-10"],
  [-0.0625, "-0.0625"],
  [2 ** 60, "1.152921504606847e+18"],
])("an offset of %d is written as Python's repr has it: %s", (offset, written) => {
  const state = { quantType: "nf4", blockSize: 64, dtype: "F32", shape: [2, 64] } as const;
  const bytes = encodeBnbState({ ...state, nested: { blockSize: 256, offset } });
  expect(new TextDecoder().decode(bytes)).toContain(`"nested_offset": ${written}}`);
});

test("every offset reads back as the f32 it was", () => {
  fc.assert(
    fc.property(fc.float({ noNaN: true, noDefaultInfinity: true }), (offset) => {
      const state = {
        quantType: "nf4",
        blockSize: 64,
        dtype: "BF16",
        shape: [3, 64],
        nested: { blockSize: 256, offset },
      } as const;
      const read = parseBnbState(encodeBnbState(state), "nf4", "m");
      // JSON has no negative zero of Python's either way.
      expect(read).toEqual({ ...state, nested: { blockSize: 256, offset: offset + 0 } });
    }),
  );
});

describe("a state is refused with its place and the fault where", () => {
  const good = JSON.parse(nested) as Record<string, unknown>;
  test.each([
    ["it is no JSON", "nested_off", /w: state.* is not JSON/],
    ["it is of another type than its name", { quant_type: "fp4" }, /quant_type is the text "fp4"/],
    ["the block is no power of two", { blocksize: 96 }, /blocksize is the number 96/],
    ["the block is smaller than any", { blocksize: 16 }, /blocksize is the number 16/],
    ["the dtype is unknown", { dtype: "float64" }, /dtype is the text "float64"/],
    ["there is no shape", { shape: null }, /shape is null/],
    ["a size is none", { shape: [4, -64] }, /shape is a list/],
    ["the nested scales are of another type", { nested_dtype: "float16" }, /nested_dtype is/],
    ["the offset is missing", { nested_offset: undefined }, /nested_offset is nothing/],
    ["the nested block is missing", { nested_blocksize: undefined }, /nested_blocksize is nothing/],
  ])("%s", (_, change, fault) => {
    const json = typeof change === "string" ? change : JSON.stringify({ ...good, ...change });
    const read = () => parseBnbState(new TextEncoder().encode(json), "nf4", "w: state");
    expect(read).toThrow(fault);
    expect(read).toThrow("w: state");
  });

  test("its name has another type", () => {
    const bytes = new TextEncoder().encode(nested);
    expect(() => parseBnbState(bytes, "nf3", "w: state")).toThrow(/nf3; bitsandbytes has nf4 and/);
  });
});

describe("config.json", () => {
  test("says whether weights are in 4 bits", () => {
    expect(isBnb4bit(config("nested"), "c")).toBe(true);
    expect(isBnb4bit(config("plain"), "c")).toBe(false);
    expect(isBnb4bit({ quantization_config: null }, "c")).toBe(false);
    expect(isBnb4bit({ quantization_config: { load_in_4bit: true } }, "c")).toBe(true);
  });

  test.each([
    [{ quant_method: "gptq", bits: 4 }, /quant_method the text "gptq"/],
    [{ quant_method: "bitsandbytes", load_in_8bit: true }, /LLM.int8/],
    [{ load_in_8bit: true }, /LLM.int8/],
    [{ quant_method: "bitsandbytes" }, /neither load_in_4bit nor load_in_8bit/],
    [{}, /quant_method nothing/],
    ["nf4", /quantization_config is the text "nf4"/],
  ])("is refused where it says %j", (quantization, fault) => {
    const read = () => isBnb4bit({ quantization_config: quantization }, "DIR/config.json");
    expect(read).toThrow(fault);
    expect(read).toThrow("DIR/config.json");
  });

  test.each([
    ["nested", true],
    ["unnested", false],
  ] as const)(
    "is given what transformers gave %s, and keeps the rest to the byte",
    (name, doubleQuant) => {
      const plain = text("plain/config.json");
      const written = withBnbConfig(plain, { doubleQuant, storage: "uint8", computeDtype: "BF16" });
      expect(JSON.parse(written)).toEqual(config(name));
      expect(written.startsWith(plain.slice(0, plain.lastIndexOf("\n}")))).toBe(true);
      // A float in Python, where transformers refuses a whole number.
      expect(written).toContain('"llm_int8_threshold": 6.0,');
    },
  );

  test.each([
    '{\n "a": 1,\n "quantization_config": null,\n "b": 2\n}',
    '{"quantization_config": null, "a": 1, "b": 2}',
    '{"a": 1, "b": 2, "quantization_config":null}',
  ])("that has none by saying null is given one: %j", (before) => {
    const settings = { doubleQuant: true, storage: "bfloat16", computeDtype: "F32" } as const;
    const after = JSON.parse(withBnbConfig(before, settings)) as Record<string, unknown>;
    expect(Object.keys(after)).toEqual(["a", "b", "quantization_config"]);
    expect(after["quantization_config"]).toMatchObject({
      bnb_4bit_quant_storage: "bfloat16",
      bnb_4bit_compute_dtype: "float32",
    });
  });
});

test("NF4's codes are bitsandbytes', to the bit", () => {
  expect(BNB_CODES.nf4).toEqual(new Float32Array(Uint32Array.from(numerics.nf4_code_u32).buffer));
});

test("a table rounded to bf16 is the same; that of the other type is not", () => {
  const rounded = BNB_CODES.nf4.map((code) => Math.round(code * 256) / 256);
  expect(rounded).not.toEqual(BNB_CODES.nf4);
  expect(isCodeTable(rounded, "nf4")).toBe(true);
  expect(isCodeTable(BNB_CODES.nf4, "fp4")).toBe(false);
  expect(isCodeTable(BNB_CODES.fp4, "fp4")).toBe(true);
  expect(isCodeTable(BNB_CODES.nf4.subarray(1), "nf4")).toBe(false);
});

test("codes are dequantized from any element to any other", () => {
  const packed = Uint8Array.from({ length: 80 }, (_, i) => (i * 37 + 11) & 255);
  const codes = {
    packed,
    absmax: Float32Array.of(1, 2, 4),
    blockSize: 64,
    quantType: "nf4",
  } as const;
  const all = dequantizeCodes(codes, 0, 160);
  for (const [start, end] of [
    [0, 1],
    [1, 2],
    [63, 65],
    [5, 160],
    [64, 64],
  ] as const) {
    expect(dequantizeCodes(codes, start, end)).toEqual(all.subarray(start, end));
  }
  expect(all[0]).toBe(BNB_CODES.nf4[packed[0]! >> 4]);
  expect(all[65]).toBe(2 * BNB_CODES.nf4[packed[32]! & 15]!);
});
