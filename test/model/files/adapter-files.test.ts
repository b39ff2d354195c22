// What PEFT saves beside an adapter of the head: read where it is the base's own, refused where it is not.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openModelFolder } from "../../../src/engine/model-folder.ts";
import { decodeFloats, encodeFloats } from "../../../src/formats/float.ts";
import { encodeSafetensors } from "../../../src/formats/safetensors.ts";
import { openFolder } from "../../../src/hosts/node.ts";
import { readAdapterFolder } from "../../../src/model/files/adapter-files.ts";
import { temporaryFolder, writeTinyModel } from "../../engine/tiny-folder.ts";

const RANK = 4;

/** A PEFT folder that acts on the head alone, with another tensor beside its two matrices. */
async function writeHeadAdapter(
  base: string,
  extra: { name: string; of: string; change?: (values: Float32Array) => void },
): Promise<string> {
  const { architecture, files } = await openModelFolder(openFolder(base));
  const { hidden, vocab } = architecture;
  const source = files.tensors.get(extra.of)!;
  const values = decodeFloats(await source.read(0, vocab * hidden), "BF16");
  extra.change?.(values);
  const tensors = new Map<string, { dtype: "F32" | "F16"; shape: number[]; bytes: Uint8Array }>([
    ["base_model.model.lm_head.lora_A.weight", zeros([RANK, hidden])],
    ["base_model.model.lm_head.lora_B.weight", zeros([vocab, RANK])],
    [
      extra.name,
      { dtype: "F16" as const, shape: [vocab, hidden], bytes: encodeFloats(values, "F16") },
    ],
  ]);
  const path = temporaryFolder();
  writeFileSync(join(path, "adapter_model.safetensors"), encodeSafetensors(tensors, {}));
  const config = { peft_type: "LORA", r: RANK, target_modules: ["lm_head"] };
  writeFileSync(join(path, "adapter_config.json"), JSON.stringify(config));
  return path;
}

function zeros(shape: number[]) {
  const bytes = new Uint8Array(4 * shape.reduce((product, size) => product * size, 1));
  return { dtype: "F32" as const, shape, bytes };
}

function changeLast(values: Float32Array): void {
  values[values.length - 1]! += 0.01;
}

async function readTargets(base: string, adapter: string): Promise<string[]> {
  const opened = await openModelFolder(openFolder(base));
  const { targets } = await readAdapterFolder(openFolder(adapter), opened);
  return targets.map(({ path }) => path);
}

test.each([
  { isTied: false, of: "lm_head.weight" },
  { isTied: true, of: "model.embed_tokens.weight" },
])(
  "the base's own head may be repeated, in another type (tied: $isTied)",
  async ({ isTied, of }) => {
    const base = writeTinyModel("BF16", isTied);
    const name = "base_model.model.lm_head.base_layer.weight";
    expect(await readTargets(base, await writeHeadAdapter(base, { name, of }))).toEqual([
      "lm_head",
    ]);
  },
);

test("a head or embeddings that were trained whole are refused", async () => {
  const base = writeTinyModel("BF16", false);
  for (const [name, of] of [
    ["base_model.model.lm_head.base_layer.weight", "lm_head.weight"],
    ["base_model.model.model.embed_tokens.weight", "model.embed_tokens.weight"],
  ] as const) {
    const adapter = await writeHeadAdapter(base, { name, of, change: changeLast });
    await expect(readTargets(base, adapter)).rejects.toThrow(
      `another weight than the base model's ${of}`,
    );
  }
});
