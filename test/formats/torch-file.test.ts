// Files of torch.save, read: every type and every way that a view can lie, bit for bit as PyTorch has them.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { unpickle } from "../../src/formats/pickle.ts";
import { PickleRecord } from "../../src/formats/pickle-values.ts";
import { openTorchFile, type TorchFile } from "../../src/formats/torch-file.ts";
import { TORCH_GLOBALS } from "../../src/formats/torch-pickle.ts";
import { dict, get, int, put, tensor, text, torchZip } from "./torch-maker.ts";

const fixture = (name: string) =>
  new Uint8Array(readFileSync(new URL(`../fixtures/torch-files/${name}`, import.meta.url)));

interface Described {
  readonly shape: number[];
  readonly dtype: string;
  readonly hex: string;
}

const described = (name: string) =>
  JSON.parse(new TextDecoder().decode(fixture(name))) as Record<string, Described>;

/** PyTorch's names of types by those of safetensors. */
const NAMES: Record<string, string> = {
  F64: "float64",
  F32: "float32",
  F16: "float16",
  BF16: "bfloat16",
  C64: "complex64",
  I64: "int64",
  I32: "int32",
  I16: "int16",
  I8: "int8",
  U64: "uint64",
  U32: "uint32",
  U16: "uint16",
  U8: "uint8",
  BOOL: "bool",
  F8_E4M3: "float8_e4m3fn",
  F8_E5M2: "float8_e5m2",
};

/** Opens bytes as a file, and counts how many of them are read. */
async function open(bytes: Uint8Array<ArrayBuffer>) {
  const reads = { bytes: 0 };
  const file = await openTorchFile(
    async (start, end) => {
      if (start < 0 || start > end || end > bytes.length) {
        throw new Error(`read of ${start} to ${end} in ${bytes.length} bytes`);
      }
      reads.bytes += end - start;
      return bytes.slice(start, end);
    },
    bytes.length,
    "model/a.bin",
  );
  return { file, reads };
}

const countOf = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1);

async function describeTensors({ tensors }: TorchFile): Promise<Record<string, Described>> {
  const all: Record<string, Described> = {};
  for (const [name, tensorOfFile] of tensors) {
    const { dtype, shape } = tensorOfFile;
    const bytes = await tensorOfFile.read(0, countOf(shape));
    all[name] = {
      shape: [...shape],
      dtype: NAMES[dtype] ?? dtype,
      hex: Buffer.from(bytes).toString("hex"),
    };
  }
  return all;
}

describe("tensors", () => {
  test("of every type and stride are the numbers that PyTorch has, in the ZIP format", async () => {
    const { file } = await open(fixture("tensors.pt"));
    expect(await describeTensors(file)).toEqual(described("tensors.json"));
  });

  test("are the same in the format before PyTorch 1.6, which lacks some types", async () => {
    const { file } = await open(fixture("tensors-legacy.pt"));
    const found = await describeTensors(file);
    const all = described("tensors.json");
    expect(Object.keys(all).filter((name) => !(name in found))).toEqual([
      "types.uint16",
      "types.uint32",
      "types.uint64",
      "types.float8_e4m3fn",
      "types.float8_e5m2",
    ]);
    for (const [name, own] of Object.entries(found)) expect([name, own]).toEqual([name, all[name]]);
  });

  test("are read in any range, whatever their strides", async () => {
    const { file } = await open(fixture("tensors.pt"));
    const all = described("tensors.json");
    for (const name of ["views.transposed", "views.permuted", "views.steps", "views.columns"]) {
      const view = file.tensors.get(name)!;
      const count = countOf(view.shape);
      for (let start = 0; start <= count; start += 3) {
        for (let end = start; end <= count; end += 7) {
          const hex = Buffer.from(await view.read(start, end)).toString("hex");
          expect(hex).toBe(all[name]?.hex.slice(start * 8, end * 8));
        }
      }
    }
  });

  test("are not touched before they are asked for, and a slice of rows reads no more than its rows", async () => {
    const rows = 4096;
    const data = Uint8Array.from({ length: rows * 8 * 4 }, (_, i) => i % 251);
    // Columns 2 to 6 of a matrix of 8.
    const w = tensor({ size: rows * 8, offset: 2, shape: [rows, 4], strides: [8, 1] });
    const { file, reads } = await open(torchZip(dict([text("w"), w]), data));
    expect(reads.bytes).toBeLessThan(2000);
    const before = reads.bytes;
    const bytes = await file.tensors.get("w")!.read(40, 48);
    expect(reads.bytes - before).toBeLessThan(200);
    const expected = [10, 11].flatMap((row) =>
      Array.from(data.subarray((row * 8 + 2) * 4, (row * 8 + 6) * 4)),
    );
    expect([...bytes]).toEqual(expected);
  });

  test("of a dict in a dict have a name with a dot, and numbers and texts beside them are passed over", async () => {
    const weight = tensor({ size: 2, shape: [2], strides: [1] });
    const inner = dict([text("weight"), weight], [text("note"), text("x")]);
    const root = dict([text("layer"), inner], [text("epoch"), int(3)], [int(7), weight]);
    const { file } = await open(torchZip(root, new Uint8Array(8)));
    expect([...file.tensors.keys()]).toEqual(["layer.weight"]);
  });
});

describe("a checkpoint of XTuner", () => {
  test("gives the tensors of its state_dict, and its meta with the config's text", async () => {
    const { file } = await open(fixture("iter_6.pth"));
    expect(await describeTensors(file)).toEqual(described("iter_6.json"));
    expect(file.meta?.get("iter")).toBe(6);
    expect(file.meta?.get("seed")).toBe(1234567890);
    expect(file.meta?.get("cfg")).toMatch(/^SYSTEM = ''\n[^]*lora_alpha=16,/);
  });

  test("has the losses of MMEngine as records that nobody called, by NumPy 1 and 2", () => {
    const { value } = unpickle(fixture("numpy-1.pkl"), "a.pkl", {
      globals: TORCH_GLOBALS,
      persistent: () => null,
    });
    const scalars = value instanceof Map ? value.get("log_scalars") : undefined;
    const losses = scalars instanceof Map ? scalars.get("train/loss") : undefined;
    expect(losses).toBeInstanceOf(PickleRecord);
    const { name, state } = losses as PickleRecord;
    expect(name).toBe("mmengine.logging.history_buffer.HistoryBuffer");
    const history = state instanceof Map ? state.get("_log_history") : undefined;
    expect(history).toMatchObject({ name: "numpy.core.multiarray._reconstruct" });
    const [, , , , raw] = ((history as PickleRecord).state as unknown as { items: unknown[] })
      .items;
    expect([...new Float64Array((raw as Uint8Array).slice().buffer)]).toEqual([
      2.5, 2.25, 2, 1.5, 1.25, 1,
    ]);
    const functions = state instanceof Map ? state.get("statistics_methods") : undefined;
    expect([...(functions as Map<string, PickleRecord>).keys()]).toEqual([
      "min",
      "max",
      "current",
      "mean",
    ]);
  });
});

/** A dict of so many keys that hold the value. */
const dictOf = (keys: number, value: Uint8Array<ArrayBuffer>) =>
  dict(...Array.from({ length: keys }, (_, i) => [text(`k${i}`), value] as const));

describe("a dict that is shared", () => {
  test("a billion times over is one dict until it is walked, which is not done so deep", async () => {
    // Ten references to a dict of ten references …
    let code = put(dictOf(10, int(1)), 0);
    for (let level = 1; level < 10; level++) {
      code = put(dict([text("first"), code], [text("rest"), dictOf(9, get(level - 1))]), level);
    }
    const { file } = await open(torchZip(code));
    expect(file.tensors.size).toBe(0);
  });

  test("is counted as often as it is met, and there is a limit", async () => {
    const inner = put(dictOf(900, int(1)), 0);
    const root = dict([text("first"), inner], [text("rest"), dictOf(1000, get(0))]);
    await expect(open(torchZip(root))).rejects.toThrow(/more than 500000 entries/);
  });

  test("with itself is walked to an end", async () => {
    const root = [0x7d, 0x72, 0, 0, 0, 0, ...text("self"), ...get(0), 0x73];
    const { file } = await open(torchZip(Uint8Array.from(root)));
    expect(file.tensors.size).toBe(0);
  });
});
