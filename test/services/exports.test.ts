// Exports of the engine's service: what is in them, what is checked, and what is left behind of none.
import { strFromU8, unzipSync } from "fflate";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { readConfig } from "../../src/config-read.ts";
import { openOpfs } from "../../src/hosts/opfs.ts";
import type { EngineService, ExportResult, MergeOptions } from "../../src/services/api.ts";
import { createEngineService } from "../../src/services/engine-service.ts";
import { formatLossCsv } from "../../src/services/loss-csv.ts";
import type { MemoryDisk } from "../hosts/memory-opfs.ts";
import { createFakeEngine, type FakeEngine } from "./fake-engine.ts";
import { expectClosed, newRun, stubStored } from "./stored.ts";

const OWN: MergeOptions = { dtype: "own", base: "original", maxShardBytes: 1e9 };

let disk: MemoryDisk;
let engine: FakeEngine;
let service: EngineService;
let runId: string;

beforeEach(async () => {
  disk = await stubStored();
  engine = createFakeEngine();
  service = createEngineService(engine);
  runId = (await service.createRun(newRun({ lr: 0.01 }, "My run"))).id;
  await service.startRun(runId, () => {});
});

afterEach(() => {
  expectClosed(disk);
  vi.unstubAllGlobals();
});

describe("an adapter", () => {
  test("comes with its config and its losses up to the checkpoint", async () => {
    const result = await service.exportAdapter(runId, "iter_4");
    expect(namesOf(result)).toEqual([
      "adapter_config.json",
      "adapter_model.safetensors",
      "config.yaml",
      "loss.csv",
    ]);
    expect(result.check).toBe("2 files read back; config.yaml and loss.csv read back as written");
    expect(result.bytes).toBe(result.files.reduce((sum, { bytes }) => sum + bytes, 0));
    const yaml = await (await service.exportedFile(result.id, "config.yaml")).text();
    expect(readConfig(yaml, "config.yaml")).toMatchObject({ lr: 0.01, model: "seedling" });
    const csv = await (await service.exportedFile(result.id, "loss.csv")).text();
    expect(
      csv
        .trim()
        .split("\n")
        .slice(1)
        .map((line) => line.split(",")[0]),
    ).toEqual(["1", "2", "3", "4"]);
  });

  test("is packed into an archive that another reader reads", async () => {
    const result = await service.exportAdapter(runId, "iter_6");
    const zip = await service.zipExport(result.id, "my run: 日本/adapter.zip");
    expect(zip.name).toBe("my run- 日本-adapter.zip");
    const files = unzipSync(new Uint8Array(await zip.arrayBuffer()));
    expect(Object.keys(files).toSorted()).toEqual(namesOf(result));
    expect(files["adapter_model.safetensors"]!.length).toBe(1006);
    expect(strFromU8(files["adapter_config.json"]!)).toBe("{}");
    // Once more: the archive that was there makes room for the new one.
    const before = disk.usedBytes();
    await service.zipExport(result.id, "again.zip");
    expect(disk.usedBytes()).toBe(before);
  });

  test("an archive that does not read back is handed to nobody", async () => {
    const result = await service.exportAdapter(runId, "iter_6");
    const weights = (await openOpfs()).folder(`exports/${result.id}/files`);
    // A byte of a file changes between its way into the archive and its way out.
    let reads = 0;
    disk.fault = (operation, name) => {
      if (operation === "move" && name === "a.zip" && reads++ === 0) corrupt();
    };
    const corrupt = () => {
      const bytes = new Uint8Array(1006);
      bytes[500] = 1;
      changing = weights.write("adapter_model.safetensors", bytes);
    };
    let changing: Promise<void> = Promise.resolve();
    const zipping = service.zipExport(result.id, "a.zip");
    await expect(zipping).rejects.toThrow(/a\.zip does not read back.*adapter_model/s);
    await changing;
  });

  test("of a checkpoint that is not there is refused, and leaves nothing", async () => {
    await expect(service.exportAdapter(runId, "iter_5")).rejects.toThrow("iter_5");
    await expect(service.exportAdapter(runId, "../..")).rejects.toThrow("no complete checkpoint");
    expect(await exportsThere()).toEqual([]);
  });

  test("that fails leaves nothing behind", async () => {
    disk.fault = (operation, name) => {
      if (operation === "move" && name === "loss.csv")
        throw new DOMException("full", "QuotaExceededError");
    };
    await expect(service.exportAdapter(runId, "iter_6")).rejects.toThrow("no room");
    disk.fault = undefined;
    expect(await exportsThere()).toEqual([]);
  });
});

describe("merged weights", () => {
  test("go into storage by default", async () => {
    const progress: number[] = [];
    const options: MergeOptions = { dtype: "float16", base: "nf4", maxShardBytes: 1e9 };
    const result = await service.exportMerged(runId, "iter_6", options, undefined, (bytes) =>
      progress.push(bytes),
    );
    expect(namesOf(result)).toEqual(["config.json", "model.safetensors"]);
    expect(progress).toEqual([1]);
    const config = await (await service.exportedFile(result.id, "config.json")).text();
    expect(JSON.parse(config)).toEqual({ dtype: "float16", base: "nf4" });
  });

  test("go straight into a picked folder, which must be empty", async () => {
    const used = disk.usedBytes();
    const target = disk.pickedFolder("my model");
    const result = await service.exportMerged(runId, "iter_6", OWN, target, () => {});
    expect(result).toMatchObject({ id: "", check: "1 tensor read back" });
    expect(namesOf(result)).toEqual(["config.json", "model.safetensors"]);
    expect(disk.usedBytes()).toBe(used);
    const again = service.exportMerged(runId, "iter_6", OWN, target, () => {});
    await expect(again).rejects.toThrow("my model is not empty: it has config.json");
    await service.deleteExport(result.id);
    expect((await target.getFileHandle("model.safetensors")).name).toBe("model.safetensors");
  });

  test("a picked folder in which it fails is empty again", async () => {
    const target = disk.pickedFolder();
    const working = createFakeEngine();
    engine.merge = async (request) => {
      await working.merge(request);
      throw new Error("the GPU failed");
    };
    const merging = service.exportMerged(runId, "iter_6", OWN, target, () => {});
    await expect(merging).rejects.toThrow("the GPU failed");
    const names: string[] = [];
    for await (const name of (target as unknown as { keys(): AsyncIterable<string> }).keys())
      names.push(name);
    expect(names).toEqual([]);
  });

  test("too large for the storage are refused before anything is written, with numbers", async () => {
    disk.quotaBytes = disk.usedBytes() + 2_000_000;
    const merging = service.exportMerged(runId, "iter_6", OWN, undefined, () => {});
    // Seedling has a million parameters in two bytes each, 2 MB, and a tokenizer.
    await expect(merging).rejects.toThrow(
      /The merged model needs 2\.2 MiB; the browser allows this site/,
    );
    expect(await exportsThere()).toEqual([]);
    disk.quotaBytes += 500_000;
    await expect(
      service.exportMerged(runId, "iter_6", { ...OWN, dtype: "float32" }, undefined, () => {}),
    ).rejects.toThrow("needs 4.3 MiB");
    await expect(
      service.exportMerged(runId, "iter_6", OWN, undefined, () => {}),
    ).resolves.toMatchObject({
      check: "1 tensor read back",
    });
  });
});

test("exports are removed by their id, and those left behind after a day", async () => {
  const [old, fresh] = [
    await service.exportAdapter(runId, "iter_6"),
    await service.exportAdapter(runId, "iter_4"),
  ];
  const record = (await openOpfs()).folder(`exports/${old.id}`);
  const madeAt = new Date(Date.now() - 25 * 3600_000).toISOString();
  await record.write("export.json", JSON.stringify({ madeAt }));
  await (await openOpfs()).write("exports/cut-off/files/model.safetensors", "x");
  await service.configure({ hubUrl: "https://example.org", pageUrl: "https://example.net/" });
  await vi.waitFor(async () => expect(await exportsThere()).toEqual([fresh.id]));
  await service.deleteExport(fresh.id);
  expect(await exportsThere()).toEqual([]);
  await expect(service.zipExport(fresh.id, "a.zip")).rejects.toThrow(
    "not in the browser's storage any more",
  );
  await expect(service.deleteExport("../models")).rejects.toThrow("is not an id");
});

test("the table of losses has a line per step, and one before the first for the held-out loss", () => {
  const step = {
    step: 1,
    steps: 2,
    epoch: 0.5,
    loss: 2.5,
    learningRate: 1e-7,
    gradNorm: Number.NaN,
    lossScale: 1,
    tokens: 64,
    labelTokens: 30,
    tokensPerSecond: 12.5,
    etaSeconds: 1,
    skipped: 1,
  };
  const held = { loss: 3, perplexity: 20, tokenAccuracy: 0.25, labelTokens: 9 };
  const history = {
    steps: [step, { ...step, step: 2 }],
    evals: [
      { step: 0, ...held },
      { step: 1, ...held, loss: 2 },
    ],
    samples: [],
  };
  expect(formatLossCsv(history, 1).split("\n")).toEqual([
    "step,epoch,loss,learning_rate,grad_norm,loss_scale,tokens,label_tokens,tokens_per_second,held_out_loss,held_out_token_accuracy",
    "0,,,,,,,,,3,0.25",
    "1,0.5,2.5,1e-7,,1,64,30,12.5,2,0.25",
    "",
  ]);
});

function namesOf({ files }: ExportResult): string[] {
  return files.map(({ name }) => name).toSorted();
}

async function exportsThere(): Promise<string[]> {
  return (await openOpfs()).folder("exports").list();
}
