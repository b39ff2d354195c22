// XTuner's checkpoints become adapters: names and type change, nothing is missing, and what is no adapter of a
// language model is refused in words.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import type { TrainConfig } from "../../../src/config.ts";
import {
  convertCheckpoint,
  readCheckpointConfig,
} from "../../../src/engine/exports/pickled-checkpoint.ts";
import type { ConvertCheckpointRequest } from "../../../src/engine.ts";
import { decodeFloats, encodeFloats } from "../../../src/formats/float.ts";
import { parseAdapterConfig } from "../../../src/formats/peft.ts";
import { openFolder } from "../../../src/hosts/node.ts";
import { readAdapterFolder } from "../../../src/model/files/adapter-files.ts";
import { parseArchitecture } from "../../../src/model/architecture.ts";
import { openModelFiles, openTensorFile } from "../../../src/model/files/checkpoint-files.ts";
import { readXtunerConfig } from "../../../src/xtuner/read-xtuner-config.ts";
import { dict, pickle, tensor, text, torchFile, torchZip, zip } from "../../formats/torch-maker.ts";
import { temporaryFolder, writeTinyModel } from "../tiny-folder.ts";

const FIXTURES = fileURLToPath(new URL("../../fixtures/", import.meta.url));
const CHECKPOINT = openFolder(join(FIXTURES, "torch-files"));
const TINY = openFolder(join(FIXTURES, "torch/tiny-llama"));
const RANK = 2;

/** The tensors that PyTorch wrote into the fixture. */
const WRITTEN = JSON.parse(
  readFileSync(join(FIXTURES, "torch-files/iter_6.json"), "utf8"),
) as Record<string, { shape: number[]; hex: string }>;

interface Matrix {
  readonly dtype: "F32";
  readonly shape: number[];
  readonly bytes: Uint8Array<ArrayBuffer>;
}

const matrices = () =>
  new Map<string, Matrix>(
    Object.entries(WRITTEN).map(([name, { shape, hex }]) => {
      const bytes = Uint8Array.from(Buffer.from(hex, "hex"));
      return [name, { dtype: "F32" as const, shape, bytes }];
    }),
  );

async function ownConfig(): Promise<TrainConfig> {
  const own = await readCheckpointConfig(CHECKPOINT, "iter_6.pth");
  return readXtunerConfig(own ?? "", "the checkpoint").config;
}

async function convert(change: Partial<ConvertCheckpointRequest> = {}) {
  const output = openFolder(join(temporaryFolder(), "out"));
  const own = { folder: CHECKPOINT, name: "iter_6.pth", config: await ownConfig() };
  const summary = await convertCheckpoint({ ...own, output, ...change });
  return { output, summary };
}

/** A folder with a checkpoint of these tensors. */
function checkpointOf(tensors: Iterable<readonly [string, Matrix]>): {
  folder: ReturnType<typeof openFolder>;
  name: string;
} {
  const path = temporaryFolder();
  writeFileSync(join(path, "iter_9.pth"), torchFile(tensors));
  return { folder: openFolder(path), name: "iter_9.pth" };
}

const changed = (change: (tensors: Map<string, Matrix>) => void) => {
  const tensors = matrices();
  change(tensors);
  return checkpointOf(tensors);
};

const ofLayer = (layer: number, module: string, part: "A" | "B") =>
  `llm.base_model.model.model.layers.${layer}.self_attn.${module}.lora_${part}.default.weight`;

describe("a checkpoint of XTuner", () => {
  test("becomes PEFT's folder in float16, by the config that it carries", async () => {
    const { output, summary } = await convert();
    expect(summary.files.map(({ name }) => name)).toEqual([
      "README.md",
      "adapter_config.json",
      "adapter_model.safetensors",
      "training_manifest.json",
    ]);
    expect(summary.check).toBe(
      "4 pairs of matrices read back equal to what was converted; every layer has the same ones",
    );
    const config = parseAdapterConfig(await output.readText("adapter_config.json"), "it");
    expect(config).toMatchObject({
      baseModel: "tiny-llama",
      rank: RANK,
      alpha: 16,
      dropout: 0.1,
      targetModules: ["q_proj", "v_proj"],
      taskType: "CAUSAL_LM",
    });
    const manifest = JSON.parse(await output.readText("training_manifest.json")) as object;
    expect(manifest).toMatchObject({ prompt_template: "default", system: "" });
    const tensors = await openTensorFile(output, "adapter_model.safetensors");
    expect(tensors.length).toBe(8);
    for (const found of tensors) {
      const { name, dtype, shape } = found;
      const own = WRITTEN[`llm.${name.replace(".weight", ".default.weight")}`]!;
      expect([dtype, shape]).toEqual(["F16", own.shape]);
      const values = decodeFloats(Uint8Array.from(Buffer.from(own.hex, "hex")), "F32");
      const bytes = await found.read(0, values.length);
      expect(Buffer.from(bytes)).toEqual(Buffer.from(encodeFloats(values, "F16")));
    }
  });

  test("keeps float32 where it is asked to, and is the base's adapter", async () => {
    const { output, summary } = await convert({ isFloat32: true, model: TINY });
    expect(summary.check).toMatch(/; they are all that the base model's config calls for$/);
    const architecture = parseArchitecture(await TINY.readText("config.json"), "tiny-llama");
    const files = await openModelFiles(TINY);
    const read = await readAdapterFolder(output, { architecture, files });
    expect(read.targets.map(({ scaling }) => scaling)).toEqual([8, 8, 8, 8]);
    const { a } = read.matrices.get("model.layers.1.self_attn.v_proj")!;
    expect(Buffer.from(a.buffer).toString("hex")).toBe(WRITTEN[ofLayer(1, "v_proj", "A")]?.hex);
  });

  test("names the repo that the config's model was found in", async () => {
    const { output } = await convert({ base: { name: "org/name", revision: "v2" } });
    const config = parseAdapterConfig(await output.readText("adapter_config.json"), "it");
    expect(config).toMatchObject({ baseModel: "org/name", revision: "v2" });
    expect(await output.readText("README.md")).toContain('base_model: "org/name"');
  });

  test("needs no config where alpha is given", async () => {
    const { output } = await convert({ config: undefined!, alpha: 4, dropout: 0.5 });
    const config = parseAdapterConfig(await output.readText("adapter_config.json"), "it");
    expect(config).toMatchObject({ alpha: 4, dropout: 0.5, rank: RANK, baseModel: null });
    expect(await output.size("training_manifest.json")).toBeUndefined();
    await expect(convert({ config: undefined! })).rejects.toThrow(
      /does not say its run's lora_alpha/,
    );
  });

  test("that DeepSpeed wrote is a folder, with the matrices under module", async () => {
    const path = temporaryFolder();
    const file = join(path, "iter_9.pth", "mp_rank_00_model_states.pt");
    mkdirSync(dirname(file));
    const all = [...matrices()];
    const items = all.map(([name, { shape }], index) => {
      const [rows = 0, columns = 0] = shape;
      const parts = { key: String(index), size: rows * columns, shape, strides: [columns, 1] };
      return [text(name), tensor(parts)] as const;
    });
    const meta = dict([text("cfg"), text("lr = 1\n")]);
    const root = dict([text("module"), dict(...items)], [text("meta"), meta]);
    const entries = all.map(([, { bytes }], index) => ({ name: `a/data/${index}`, data: bytes }));
    writeFileSync(file, zip({ entries: [{ name: "a/data.pkl", data: pickle(root) }, ...entries] }));
    const own = { folder: openFolder(path), name: "iter_9.pth" };
    expect(await readCheckpointConfig(own.folder, own.name)).toBe("lr = 1\n");
    const { output } = await convert(own);
    const { output: expected } = await convert();
    const weights = "adapter_model.safetensors";
    expect(Buffer.from(await output.read(weights))).toEqual(
      Buffer.from(await expected.read(weights)),
    );
  });
});

const zeros = (...shape: number[]): Matrix => ({
  dtype: "F32",
  shape,
  bytes: new Uint8Array(4 * shape.reduce((product, size) => product * size, 1)),
});

describe("a checkpoint is refused", () => {
  test.each<[string, () => { folder: ReturnType<typeof openFolder>; name: string }, RegExp]>([
    [
      "of full fine-tuning",
      () => checkpointOf([["llm.model.norm.weight", zeros(4)]]),
      /it is of full fine-tuning/,
    ],
    [
      "of a LLaVA model",
      () => changed((all) => all.set("projector.model.0.weight", zeros(2, 2))),
      /is of a LLaVA model: it holds projector\.model\.0\.weight/,
    ],
    [
      "with an adapted embedding",
      () =>
        changed((all) =>
          all.set("llm.base_model.model.model.embed_tokens.lora_embedding_A.default", zeros(2, 9)),
        ),
      /is an adapted embedding, which Hone does not read/,
    ],
    [
      "with another tensor",
      () => changed((all) => all.set("llm.base_model.model.lm_head.weight", zeros(2, 2))),
      /"llm\.base_model\.model\.lm_head\.weight" is no LoRA matrix/,
    ],
    [
      "without the partner of a matrix",
      () => changed((all) => all.delete(ofLayer(1, "q_proj", "B"))),
      /has no lora_B for model\.layers\.1\.self_attn\.q_proj/,
    ],
    [
      "without a module of a layer",
      () =>
        changed((all) => {
          for (const part of ["A", "B"] as const) all.delete(ofLayer(0, "q_proj", part));
        }),
      /has no matrices for model\.layers\.0\.self_attn\.q_proj, and other layers have/,
    ],
    [
      "with pairs that do not fit",
      () => changed((all) => all.set(ofLayer(1, "q_proj", "B"), zeros(128, 3))),
      /A of model\.layers\.1\.self_attn\.q_proj is \[2, 128\] and B \[128, 3\], which are no pair/,
    ],
    [
      "with another shape in one layer",
      () => changed((all) => all.set(ofLayer(1, "v_proj", "B"), zeros(32, RANK))),
      /has \[64, 128\] for model\.layers\.0\.self_attn\.v_proj, and other layers have \[32, 128\]/,
    ],
    [
      "with two ranks",
      () =>
        changed((all) => {
          for (const layer of [0, 1]) {
            all.set(ofLayer(layer, "v_proj", "A"), zeros(3, 128));
            all.set(ofLayer(layer, "v_proj", "B"), zeros(64, 3));
          }
        }),
      /the rank of model\.layers\.0\.self_attn\.q_proj is 2, and of model\.layers\.0\.self_attn\.v_proj 3/,
    ],
    [
      "with numbers that are not finite",
      () =>
        changed((all) => {
          const values = new Float32Array(2 * 128).fill(Number.NaN);
          all.set(ofLayer(0, "q_proj", "A"), {
            ...zeros(2, 128),
            bytes: encodeFloats(values, "F32"),
          });
        }),
      /holds numbers that are not finite/,
    ],
    [
      "with numbers that float16 cannot hold",
      () =>
        changed((all) => {
          const values = new Float32Array(2 * 128).fill(70_000);
          all.set(ofLayer(0, "q_proj", "A"), {
            ...zeros(2, 128),
            bytes: encodeFloats(values, "F32"),
          });
        }),
      /too large for F16/,
    ],
    [
      "that is not there",
      () => ({ folder: openFolder(temporaryFolder()), name: "iter_7.pth" }),
      /iter_7\.pth is no checkpoint's file, and no folder of DeepSpeed/,
    ],
    [
      "that has no tensors",
      () => {
        const path = temporaryFolder();
        writeFileSync(join(path, "a.pth"), torchZip(dict([text("meta"), dict()])));
        return { folder: openFolder(path), name: "a.pth" };
      },
      /holds no tensors under state_dict/,
    ],
  ])("%s", async (_, make, told) => {
    await expect(convert(make())).rejects.toThrow(told);
  });

  test("with a config of another run", async () => {
    const config = await ownConfig();
    const lora = (change: Partial<TrainConfig["lora"]>) => ({
      config: { ...config, lora: { ...config.lora, ...change } },
    });
    await expect(convert(lora({ r: 64 }))).rejects.toThrow(/have rank 2, and the config says r=64/);
    await expect(convert(lora({ target_modules: ["q_proj"] }))).rejects.toThrow(
      /has matrices for model\.layers\.0\.self_attn\.v_proj, which is none of the config's target_modules/,
    );
    await expect(convert(lora({ target_modules: ["q_proj", "v_proj", "wqkv"] }))).rejects.toThrow(
      /has no matrices for wqkv, which the config's target_modules name/,
    );
  });

  test("with a base of another shape, or of more layers", async () => {
    await expect(convert({ model: openFolder(writeTinyModel()) })).rejects.toThrow(
      /has \[128, 128\] for model\.layers\.0\.self_attn\.q_proj, and .* calls for \[64, 64\]/,
    );
    const path = temporaryFolder();
    const json = JSON.parse(await TINY.readText("config.json")) as object;
    writeFileSync(join(path, "config.json"), JSON.stringify({ ...json, num_hidden_layers: 3 }));
    await expect(convert({ model: openFolder(path) })).rejects.toThrow(
      /has no matrices for model\.layers\.2\.self_attn\.q_proj/,
    );
  });
});
