// Models from the person's own disk: only what is a model is kept, and what is refused leaves nothing behind.
import { describe, expect, test, vi } from "vitest";
import { openModelFolder } from "../../src/engine/model-folder.ts";
import { openOpfs } from "../../src/hosts/opfs.ts";
import { modelLock, takeLock } from "../../src/services/locks.ts";
import { modelFolder } from "../../src/services/storage.ts";
import {
  adapterFiles,
  below,
  bytesOf,
  type Files,
  picked,
  quiet,
  refusal,
  storedNames,
  tiny,
  tinyGguf,
  useTab,
} from "./model-tab.ts";

const tab = useTab();

const index = (file: string) =>
  Buffer.from(JSON.stringify({ weight_map: { "model.embed_tokens.weight": file } }));

describe("a local model", () => {
  test.each([
    ["files", ""],
    ["a dropped folder", "My Model/"],
  ])("of %s is kept without what is no part of it", async (_name, prefix) => {
    const extras = {
      "README.md": Buffer.from("# hi"),
      "pytorch_model.bin": Buffer.alloc(999),
      "onnx/model.onnx": Buffer.alloc(999),
      "original/consolidated.00.pth": Buffer.alloc(999),
      ".git/config": Buffer.alloc(9),
      "model.fp16.safetensors": Buffer.alloc(99),
      "training_args.bin": Buffer.alloc(9),
    };
    const seen: [number, number][] = [];
    const model = await tab.store.addLocal(
      "My Model",
      picked({ ...tiny, ...extras }, prefix),
      (...counts) => seen.push(counts),
    );
    expect(model).toMatchObject({
      id: "my-model",
      name: "My Model",
      kind: "model",
      origin: { kind: "local" },
    });
    expect(model.bytes).toBe(bytesOf(tiny));
    expect(seen.at(-1)).toEqual([model.bytes, model.bytes]);
    expect(await storedNames()).toEqual(
      Object.keys(tiny)
        .toSorted()
        .map((name) => `my-model/files/${name}`),
    );
    const opened = await openModelFolder(await modelFolder("my-model"));
    expect(opened.architecture.hidden).toBe(64);
    // Every number of the header, counted: 2304 rows of 64, and what tiny-folder.ts writes for two layers.
    const layer = 2 * 64 + 64 * (64 + 32 + 32 + 64) + 3 * 64 * 128;
    expect(model.facts).toMatchObject({ parameters: 2304 * 64 + 64 + 2 * layer, storedAs: "bf16" });
    const again = await tab.store.addLocal("My Model", picked(tiny), quiet);
    expect(again.id).toBe("my-model-2");
  });

  test.each([
    ["Modèle d'été", "modele-d-ete"],
    ["Größe (2)", "gro-e-2"],
    ["ｆｕｌｌ ①", "full-1"],
    ["模型", "untitled"],
  ])("called %s gets the id %s", async (name, id) => {
    expect((await tab.store.addLocal(name, picked(tiny), quiet)).id).toBe(id);
  });

  test("called as the page's own gets an id of its own, and neither takes the other's place", async () => {
    const mine = await tab.store.addLocal("Seedling", picked(tiny), quiet);
    expect(mine).toMatchObject({ id: "seedling-2", origin: { kind: "local" } });
    const own = await tab.store.addEmbedded(quiet);
    const ids = (await tab.store.listModels()).map(({ id }) => id);
    expect(ids.toSorted()).toEqual([own.id, mine.id].toSorted());
    expect((await openModelFolder(await modelFolder(mine.id))).architecture.hidden).toBe(64);
  });

  test("that has the id of the page's own is not replaced by it", async () => {
    await tab.store.addLocal("mine", picked(tiny), quiet);
    const models = (await openOpfs()).folder("models");
    const record = JSON.parse(await models.readText("mine/hone.json")) as object;
    await models.rename("mine", "seedling");
    await models.write("seedling/hone.json", JSON.stringify({ ...record, id: "seedling" }));
    for (const isOffline of [false, true]) {
      tab.page.isOffline = isOffline;
      expect(await refusal(tab.store.addEmbedded(quiet))).toContain(
        'A model of yours, "mine", is stored where the page\'s own is to be.',
      );
    }
    await openModelFolder(await modelFolder("seedling"));
  });

  test("of one GGUF file is read by its header", async () => {
    const model = await tab.store.addLocal(
      "q.gguf",
      picked({ "my model (1).gguf": tinyGguf() }),
      quiet,
    );
    expect(model).toMatchObject({
      kind: "model",
      facts: { family: "llama", vocab: 258, storedAs: "f32" },
    });
    expect(await storedNames()).toEqual(["q-gguf/files/my-model-1-.gguf"]);
    await openModelFolder(await modelFolder(model.id));
  });

  test("that is an adapter knows its base", async () => {
    const files = {
      ...adapterFiles(),
      "training_manifest.json": Buffer.from("{}"),
      "optimizer.pt": Buffer.alloc(9),
    };
    const adapter = await tab.store.addLocal("poet", picked(files, "checkpoint-9/"), quiet);
    expect(adapter).toMatchObject({ kind: "adapter", baseModel: "org/tiny" });
    expect(adapter.facts).toBeUndefined();
    expect((await storedNames()).map((name) => name.split("/").at(-1))).toEqual([
      "adapter_config.json",
      "adapter_model.safetensors",
      "training_manifest.json",
    ]);
  });

  const {
    "config.json": config = new Uint8Array(),
    "model.safetensors": weights = new Uint8Array(),
    ...rest
  } = tiny;
  test.each<[string, Files, RegExp]>([
    ["nothing", {}, /has no files/],
    [
      "weights alone",
      { "model.safetensors": weights },
      /has no config\.json, no adapter_config\.json and no GGUF file/,
    ],
    [
      "no weights",
      { ...rest, "config.json": config },
      /has config\.json and neither model\.safetensors nor/,
    ],
    [
      "a pickle that is none",
      { ...rest, "config.json": config, "pytorch_model.bin": weights },
      /pytorch_model\.bin is no file of torch\.save/,
    ],
    [
      "a checkpoint of XTuner",
      { "config.json": config, "iter_768.pth": weights },
      /has its weights in iter_768\.pth alone/,
    ],
    [
      "no tokenizer",
      { "config.json": config, "model.safetensors": weights },
      /has neither tokenizer\.json nor tokenizer\.model/,
    ],
    ["cut weights", { ...tiny, "model.safetensors": weights.slice(0, -1) }, /model\.safetensors/],
    ["a broken config", { ...tiny, "config.json": Buffer.from("{") }, /config\.json/],
    [
      "an unknown kind",
      { ...tiny, "config.json": Buffer.from('{"model_type":"mamba"}') },
      /model_type is "mamba"/,
    ],
    [
      "an index that leads out",
      { ...tiny, "model.safetensors.index.json": index("../../x.safetensors") },
      /no \.safetensors file beside the index/,
    ],
    [
      "an index of missing files",
      { ...tiny, "model.safetensors.index.json": index("x.safetensors") },
      /x\.safetensors is missing/,
    ],
    [
      "weights that lack a tensor",
      {
        ...tiny,
        "config.json": Buffer.from(
          new TextDecoder()
            .decode(config)
            .replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'),
        ),
      },
      /has no tensor model\.layers\.2\.input_layernorm\.weight, which its config\.json calls for/,
    ],
    [
      "two GGUF files",
      { "a.gguf": tinyGguf(), "b.gguf": tinyGguf() },
      /has 2 GGUF files: a\.gguf \(.* KiB\), b\.gguf/,
    ],
    ["a part of a GGUF model", { "a-00001-of-00002.gguf": tinyGguf() }, /is one of several parts/],
    ["a GGUF file that is none", { "a.gguf": Buffer.alloc(5000) }, /a\.gguf/],
    ["an adapter that is no LoRA", adapterFiles({ peft_type: "IA3" }), /peft_type the text "IA3"/],
    [
      "an adapter without weights",
      { "adapter_config.json": adapterFiles()["adapter_config.json"]! },
      /adapter_config\.json and no adapter_model\.safetensors/,
    ],
    [
      "a model deeper down",
      { ...below("a/b", tiny), "c/notes.txt": Buffer.alloc(3) },
      /no model at its top; a\/b may be one/,
    ],
  ])("of %s is refused and leaves nothing behind", async (_name, files, words) => {
    const before = tab.disk.usedBytes();
    expect(await refusal(tab.store.addLocal("bad", picked(files), quiet))).toMatch(words);
    expect(tab.disk.usedBytes()).toBe(before);
    expect(await tab.store.listModels()).toEqual([]);
    expect(await storedNames()).toEqual([]);
  });

  test("that does not fit is refused with the numbers, or taken back in the middle", async () => {
    tab.disk.quotaBytes = 200_000;
    expect(await refusal(tab.store.addLocal("big", picked(tiny), quiet))).toMatch(
      /^big needs .* allows this site 195\.3 KiB/,
    );
    tab.disk.quotaBytes = 2 ** 30;
    let left = 3;
    tab.disk.fault = (operation) => {
      if (operation === "write" && left-- === 0)
        throw new DOMException("full", "QuotaExceededError");
    };
    expect(await refusal(tab.store.addLocal("big", picked(tiny), quiet))).toContain(
      "has no room for",
    );
    tab.disk.fault = undefined;
    expect(tab.disk.usedBytes()).toBe(0);
    expect(await storedNames()).toEqual([]);
  });

  test("that a closed tab left half copied is removed at the next look", async () => {
    await tab.store.addLocal("kept", picked(tiny), quiet);
    const models = (await openOpfs()).folder("models");
    const record = JSON.parse(await models.readText("kept/hone.json")) as object;
    await models.write(
      "half/hone.json",
      JSON.stringify({ ...record, id: "half", isComplete: false }),
    );
    await models.write("half/files/model.safetensors", "x");
    await models.write("orphan/files/model.safetensors", "x");
    await models.write("future/hone.json", '{"of":"another version"}');
    const release = await takeLock(modelLock("half"));
    expect((await tab.open().listModels()).map(({ id }) => id)).toEqual(["kept"]);
    expect(await models.list(), "a tab still works on one").toEqual(["future", "half", "kept"]);
    release?.();
    await tab.open().listModels();
    await vi.waitFor(async () => expect(await models.list()).toEqual(["future", "kept"]));
  });
});
