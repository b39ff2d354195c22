// Models and adapters in the files that XTuner, PEFT and mlx-lm leave behind: read as those of safetensors are.
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { exportAdapter } from "../../../src/engine/exports/export.ts";
import { openModelFolder } from "../../../src/engine/model-folder.ts";
import { encodeFloats } from "../../../src/formats/float.ts";
import { encodeSafetensors } from "../../../src/formats/safetensors.ts";
import { openFolder } from "../../../src/hosts/node.ts";
import { readAdapterFolder } from "../../../src/model/files/adapter-files.ts";
import { openModelFiles, openTensorFile } from "../../../src/model/files/checkpoint-files.ts";
import { temporaryFolder, writeTinyModel } from "../../engine/tiny-folder.ts";
import { torchFile } from "../../formats/torch-maker.ts";

interface Tensor {
  readonly dtype: "F32" | "F16" | "BF16";
  readonly shape: number[];
  readonly bytes: Uint8Array<ArrayBuffer>;
}

const countOf = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1);

/** All tensors of a model's folder, read. */
async function readModel(path: string): Promise<Map<string, Tensor>> {
  const { tensors } = await openModelFiles(openFolder(path));
  const all = new Map<string, Tensor>();
  for (const [name, tensor] of tensors) {
    const { dtype, shape } = tensor;
    const bytes = await tensor.read(0, countOf(shape));
    all.set(name, { dtype: dtype as Tensor["dtype"], shape: [...shape], bytes });
  }
  return all;
}

const shardOf = (index: number) => `pytorch_model-0000${(index % 2) + 1}-of-00002.bin`;

/** With their bytes as texts, which are compared at once. */
function byName(tensors: ReadonlyMap<string, Tensor>): object {
  const sorted = [...tensors].toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(
    sorted.map(([name, tensor]) => [
      name,
      { ...tensor, bytes: Buffer.from(tensor.bytes).toString("latin1") },
    ]),
  );
}

describe("a model's folder", () => {
  const path = writeTinyModel("BF16", false);
  let tensors: Map<string, Tensor>;
  beforeAll(async () => {
    tensors = await readModel(path);
    rmSync(join(path, "model.safetensors"));
  });

  test("with pytorch_model.bin has the same tensors", async () => {
    writeFileSync(join(path, "pytorch_model.bin"), torchFile(tensors));
    expect(byName(await readModel(path))).toEqual(byName(tensors));
    const { totalBytes } = await openModelFiles(openFolder(path));
    expect(totalBytes).toBe(
      [...tensors.values()].reduce((sum, { bytes }) => sum + bytes.length, 0),
    );
    rmSync(join(path, "pytorch_model.bin"));
  });

  test("with pytorch_model-*.bin and their index has the same tensors", async () => {
    const names = [...tensors.keys()];
    const map = Object.fromEntries(names.map((name, index) => [name, shardOf(index)]));
    const indexPath = join(path, "pytorch_model.bin.index.json");
    writeFileSync(indexPath, JSON.stringify({ metadata: {}, weight_map: map }));
    for (const shard of [0, 1]) {
      const own = [...tensors].filter((_, index) => index % 2 === shard);
      writeFileSync(join(path, shardOf(shard)), torchFile(own));
    }
    const found = await readModel(path);
    expect(byName(found)).toEqual(byName(tensors));
    const opened = await openModelFolder(openFolder(path));
    expect(opened.architecture.layers).toBe(2);
    const companions: string[] = [];
    for await (const { name } of opened.source.companions()) companions.push(name);
    expect(companions.filter((name) => /bin|index/.test(name))).toEqual([]);

    const outside = { ...map, [names[0]!]: "../elsewhere.bin" };
    writeFileSync(indexPath, JSON.stringify({ weight_map: outside }));
    await expect(openModelFiles(openFolder(path))).rejects.toThrow(
      /no \.bin file beside the index/,
    );
    writeFileSync(indexPath, JSON.stringify({ weight_map: { ...map, other: shardOf(0) } }));
    await expect(openModelFiles(openFolder(path))).rejects.toThrow(/holds other, and it does not/);
  });
});

const RANK = 4;
const MODULES: Readonly<Record<string, readonly [rows: number, inputs: number]>> = {
  "self_attn.q_proj": [64, 64],
  "mlp.down_proj": [64, 128],
};

/** Matrices with a number of their own in each place, by names of PEFT or others. */
function matrices(nameOf: (path: string, part: "A" | "B") => string, isTransposed = false) {
  const tensors = new Map<string, Tensor>();
  let seed = 0;
  for (const layer of [0, 1]) {
    for (const [module, [rows, inputs]] of Object.entries(MODULES)) {
      for (const part of ["A", "B"] as const) {
        const [high, wide] = part === "A" ? [RANK, inputs] : [rows, RANK];
        seed++;
        const value = (row: number, column: number) => seed + row / 256 - column / 1024;
        const shape = isTransposed ? [wide, high] : [high, wide];
        const values = Float32Array.from({ length: high * wide }, (_, i) =>
          isTransposed
            ? value(i % high, Math.floor(i / high))
            : value(Math.floor(i / wide), i % wide),
        );
        const name = nameOf(`model.layers.${layer}.${module}`, part);
        tensors.set(name, { dtype: "F32", shape, bytes: encodeFloats(values, "F32") });
      }
    }
  }
  return tensors;
}

function write(files: Readonly<Record<string, Uint8Array | object>>): string {
  const path = temporaryFolder();
  for (const [name, content] of Object.entries(files)) {
    const isBytes = content instanceof Uint8Array;
    writeFileSync(join(path, name), isBytes ? content : JSON.stringify(content));
  }
  return path;
}

const peftName = (path: string, part: string) => `base_model.model.${path}.lora_${part}.weight`;

describe("an adapter's folder", () => {
  const base = writeTinyModel();
  const config = {
    peft_type: "LORA",
    r: RANK,
    lora_alpha: 6,
    target_modules: ["down_proj", "q_proj"],
  };
  const opened = openModelFolder(openFolder(base));
  const read = async (path: string) => readAdapterFolder(openFolder(path), await opened);
  const plain = () =>
    write({
      "adapter_config.json": config,
      "adapter_model.safetensors": encodeSafetensors(matrices(peftName), {}),
    });

  test.each([
    ["PEFT's names", peftName],
    [
      "a live model's names",
      (path: string, part: string) => `base_model.model.${path}.lora_${part}.default.weight`,
    ],
    [
      "XTuner's names",
      (path: string, part: string) => `llm.base_model.model.${path}.lora_${part}.default.weight`,
    ],
    [
      "names without PEFT's beginning",
      (path: string, part: string) => `${path}.lora_${part}.weight`,
    ],
  ])("with adapter_model.bin under %s is the same adapter", async (_, nameOf) => {
    const pickled = write({
      "adapter_config.json": config,
      "adapter_model.bin": torchFile(matrices(nameOf)),
    });
    expect(await read(pickled)).toEqual(await read(plain()));
  });

  test("of mlx-lm is the same adapter, with its matrices turned and its scale as alpha", async () => {
    const mlx = write({
      "adapter_config.json": {
        fine_tune_type: "lora",
        lora_parameters: { rank: RANK, scale: 1.5, dropout: 0, keys: ["self_attn.q_proj"] },
        model: "org/base",
        num_layers: 2,
      },
      "adapters.safetensors": encodeSafetensors(
        matrices((path, part) => `${path}.lora_${part.toLowerCase()}`, true),
        {},
      ),
    });
    const found = await read(mlx);
    const expected = await read(plain());
    expect(found.matrices).toEqual(expected.matrices);
    expect(found.targets).toEqual(expected.targets);
    expect(found.config.baseModel).toBe("org/base");

    const before019 = { rank: RANK, alpha: 3, scale: 2, dropout: 0 };
    writeFileSync(join(mlx, "adapter_config.json"), JSON.stringify({ lora_parameters: before019 }));
    expect((await read(mlx)).targets).toEqual(expected.targets);

    const dora = { fine_tune_type: "dora", lora_parameters: { rank: RANK, scale: 1 } };
    writeFileSync(join(mlx, "adapter_config.json"), JSON.stringify(dora));
    await expect(read(mlx)).rejects.toThrow(/fine_tune_type the text "dora"/);
    const silent = { lora_parameters: { rank: RANK } };
    writeFileSync(join(mlx, "adapter_config.json"), JSON.stringify(silent));
    await expect(read(mlx)).rejects.toThrow(/"scale" of lora_parameters is nothing/);
  });

  test("in another form is written as PEFT's two files", async () => {
    const pickled = write({
      "adapter_config.json": config,
      "adapter_model.bin": torchFile(
        matrices((path, part) => `llm.base_model.model.${path}.lora_${part}.default.weight`),
      ),
    });
    const output = openFolder(join(temporaryFolder(), "out"));
    const { files, check } = await exportAdapter(openFolder(pickled), output);
    expect(check).toBe("4 pairs of matrices read back equal to what was converted");
    expect(files.map(({ name }) => name)).toEqual([
      "adapter_config.json",
      "adapter_model.safetensors",
    ]);
    expect(await read(output.path)).toEqual(await read(plain()));
    const names = (await openTensorFile(output, "adapter_model.safetensors")).map(
      ({ name }) => name,
    );
    expect(names.toSorted()).toEqual([...matrices(peftName).keys()].toSorted());
  });

  test("without weights is refused with the names that they may have", async () => {
    await expect(read(write({ "adapter_config.json": config }))).rejects.toThrow(
      /has no adapter_model\.safetensors nor adapter_model\.bin/,
    );
    await expect(read(write({}))).rejects.toThrow(/has no adapter_config\.json/);
  });

  test("whose pickle is none is refused by name", async () => {
    const notes = new Uint8Array(readFileSync(new URL(import.meta.url)));
    await expect(
      read(write({ "adapter_config.json": config, "adapter_model.bin": notes })),
    ).rejects.toThrow(/adapter_model\.bin is no file of torch\.save/);
  });
});
