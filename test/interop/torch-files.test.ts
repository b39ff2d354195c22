// Files of torch.save and of PEFT before safetensors: what is read is what PyTorch wrote, to the bit.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { openFolder } from "../../src/hosts/node.ts";
import { openAdapterFolder } from "../../src/model/files/adapter-folder.ts";
import { openTensorFile, type SourceTensor } from "../../src/model/files/checkpoint-files.ts";
import { python, workDirectory } from "./python.ts";
import { score } from "./scorecard.ts";

const CHECK = "pickles read";
const REQUIRED = "types, shapes and bytes equal";
const SEEDS = [1, 2, 3];

/** Names of types in safetensors by those in PyTorch. */
const DTYPES: Readonly<Record<string, string>> = {
  float64: "F64",
  float32: "F32",
  float16: "F16",
  bfloat16: "BF16",
  complex64: "C64",
  int64: "I64",
  int32: "I32",
  int16: "I16",
  int8: "I8",
  uint8: "U8",
  bool: "BOOL",
  uint16: "U16",
  uint32: "U32",
  uint64: "U64",
  float8_e4m3fn: "F8_E4M3",
  float8_e5m2: "F8_E5M2",
};

interface Told {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly sha256: string;
}

const work = await workDirectory("torch-files");
const at = (seed: number) => join(work, `seed-${seed}`);

beforeAll(async () => {
  for (const seed of SEEDS) await mkdir(at(seed));
  await python("torch_files", ["tensors", ...SEEDS.map(at)]);
});

const elementsOf = ({ shape }: SourceTensor) => shape.reduce((product, size) => product * size, 1);

async function describeTensor(tensor: SourceTensor): Promise<Told> {
  const bytes = await tensor.read(0, elementsOf(tensor));
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  return { dtype: tensor.dtype, shape: tensor.shape, sha256 };
}

test("tensors of every type and stride, in every way of saving", async () => {
  let compared = 0;
  let differ = 0;
  for (const seed of SEEDS) {
    const path = join(at(seed), "tensors.json");
    const told = JSON.parse(readFileSync(path, "utf8")) as Record<string, Record<string, Told>>;
    expect(Object.keys(told).length).toBe(6);
    for (const [name, expected] of Object.entries(told)) {
      const tensors = await openTensorFile(openFolder(at(seed)), `${name}.pt`);
      const found = new Map(tensors.map((tensor) => [tensor.name, tensor]));
      expect([...found.keys()].toSorted()).toEqual(Object.keys(expected).toSorted());
      for (const [key, { dtype, shape, sha256 }] of Object.entries(expected)) {
        const actual = await describeTensor(found.get(key)!);
        const wanted = { dtype: DTYPES[dtype] ?? dtype, shape, sha256 };
        compared++;
        if (JSON.stringify(actual) !== JSON.stringify(wanted)) differ++;
      }
    }
  }
  const measured = differ === 0 ? "all equal" : `${differ} of ${compared} differ`;
  const subject = "torch.save, ZIP and legacy, protocols 2 to 5";
  score({ check: CHECK, subject, required: REQUIRED, measured, holds: differ === 0 });
  expect(compared).toBeGreaterThan(1000);
  expect(differ).toBe(0);
});

test("an adapter that PEFT saved as adapter_model.bin", async () => {
  const folder = join(work, "adapter");
  await python("torch_files", ["adapter", folder]);
  expect(readdirSync(join(folder, "pickled"))).toContain("adapter_model.bin");
  const read = async (name: string) => {
    const { config, tensors } = await openAdapterFolder(openFolder(join(folder, name)));
    const told: [string, Told][] = [];
    for (const tensor of tensors) told.push([tensor.name, await describeTensor(tensor)]);
    return { config, tensors: told.toSorted(([a], [b]) => (a < b ? -1 : 1)) };
  };
  const pickled = await read("pickled");
  const safe = await read("safe");
  const holds = JSON.stringify(pickled) === JSON.stringify(safe) && pickled.tensors.length === 8;
  const measured = holds ? "all equal" : "they differ";
  score({
    check: CHECK,
    subject: "adapter_model.bin of PEFT",
    required: REQUIRED,
    measured,
    holds,
  });
  expect(pickled).toEqual(safe);
  expect(pickled.tensors.length).toBe(8);
});
