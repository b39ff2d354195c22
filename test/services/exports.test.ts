// Exports of the engine's service: what is in them, what is checked, and what is left behind of none.
import { strFromU8, unzipSync } from "fflate";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { readConfig } from "../../src/config/read.ts";
import { openOpfs, opfsFolder } from "../../src/hosts/opfs.ts";
import type { EngineService, ExportResult, MergeOptions } from "../../src/services/api.ts";
import { createEngineService } from "../../src/services/engine-service.ts";
import { formatLossCsv } from "../../src/base/loss-csv.ts";
import type { MemoryDisk } from "../hosts/memory-opfs.ts";
import { createFakeEngine, type FakeEngine } from "./fake-engine.ts";
import { withFreshService } from "./fresh-service.ts";
import { hurryWaits, newRun, snapshotOf, stubSnapshot } from "./stored.ts";

const OWN: MergeOptions = { dtype: "own", base: "original", maxShardBytes: 1e9 };

let disk: MemoryDisk;
let engine: FakeEngine;
let service: EngineService;
let runId: string;

withFreshService((fresh) => ({ disk, engine, service } = fresh));

beforeEach(async () => {
  runId = (await service.createRun(newRun({ lr: 0.01 }, "My run"))).id;
  await service.startRun(runId, () => {});
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
    // Once more: the same one, which the browser may still be copying to the person's disk.
    disk.fault = (operation) => {
      if (operation === "move" || operation === "removeEntry")
        throw new Error("the archive is used");
    };
    await service.zipExport(result.id, "my run: 日本/adapter.zip");
    disk.fault = undefined;
    expect((await zip.arrayBuffer()).byteLength).toBe(zip.size);
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
    expect(await namesIn(target)).toEqual([]);
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

describe("a merge", () => {
  test("that is canceled ends, and leaves nothing in storage nor in a picked folder", async () => {
    const target = disk.pickedFolder();
    for (const folder of [undefined, target]) {
      engine.inMerge = () => void service.cancelExport();
      const merging = service.exportMerged(runId, "iter_6", OWN, folder, () => {});
      await expect(merging).rejects.toThrow("stopped before it was done");
      await expect(merging).rejects.toHaveProperty("name", "AbortedError");
    }
    expect(await exportsThere()).toEqual([]);
    expect(await namesIn(target)).toEqual([]);
    await expect(service.cancelExport(), "nothing is under way").resolves.toBeUndefined();
  });

  test("keeps every tab from training meanwhile", async () => {
    const { id } = await service.createRun(newRun({}, "Another"));
    const otherTab = createEngineService(createFakeEngine());
    engine.inMerge = async () => {
      for (const tab of [service, otherTab]) {
        await expect(tab.startRun(id, () => {})).rejects.toThrow("busy with an export");
        await expect(tab.probeMemory(1)).rejects.toThrow("busy with an export");
      }
    };
    await service.exportMerged(runId, "iter_6", OWN, undefined, () => {});
    engine.inMerge = () => {};
    await expect(service.startRun(id, () => {})).resolves.toMatchObject({ endedBy: "finished" });
  });

  test("beside a paused run keeps that one waiting", async () => {
    const { id } = await service.createRun(newRun({}, "Another"));
    engine.beforeStep = (step) => void (step === 1 && service.pauseRun());
    const running = service.startRun(id, () => {});
    await vi.waitFor(async () => expect((await service.listRuns())[0]!.status).toBe("paused"));
    engine.inMerge = async () => {
      await expect(service.resumeRun()).rejects.toThrow("busy with an export");
    };
    await service.exportMerged(runId, "iter_6", OWN, undefined, () => {});
    await service.resumeRun();
    await expect(running).resolves.toMatchObject({ endedBy: "finished" });
  });
});

test("an archive that is canceled leaves none behind", async () => {
  const result = await service.exportAdapter(runId, "iter_6");
  disk.fault = (operation, name) => {
    if (operation === "move" && name === "a.zip") void service.cancelExport();
  };
  await expect(service.zipExport(result.id, "a.zip")).rejects.toThrow("stopped before it was done");
  disk.fault = undefined;
  expect(await (await openOpfs()).folder(`exports/${result.id}/zip`).list()).toEqual([]);
  await expect(service.zipExport(result.id, "a.zip")).resolves.toHaveProperty("name", "a.zip");
});

test("a picked folder in which an export fails keeps what others put there meanwhile", async () => {
  const target = disk.pickedFolder();
  engine.inMerge = async () => {
    await opfsFolder(target, "picked").write("thesis.txt", "the only copy");
    throw new Error("the GPU failed");
  };
  const merging = service.exportMerged(runId, "iter_6", OWN, target, () => {});
  await expect(merging).rejects.toThrow("the GPU failed");
  expect(await namesIn(target)).toEqual(["thesis.txt"]);
});

test("exports of tabs that are gone are removed at the next start, those of others stay", async () => {
  const mine = await service.exportAdapter(runId, "iter_6");
  await (await openOpfs()).write("exports/cut-off/files/model.safetensors", "x");
  const otherTab = createEngineService(createFakeEngine());
  await otherTab.configure({ hubUrl: "https://example.org", pageUrl: "https://example.net/" });
  await vi.waitFor(async () => expect(await exportsThere()).toEqual([mine.id]));
  // A fresh browser holds no locks: the tab is gone.
  disk = await stubSnapshot(snapshotOf(disk));
  const restarted = createEngineService(createFakeEngine());
  await restarted.configure({ hubUrl: "https://example.org", pageUrl: "https://example.net/" });
  await vi.waitFor(async () => expect(await exportsThere()).toEqual([]));
});

describe("an export that is deleted", () => {
  test("goes at once where nobody has its files", async () => {
    const { id } = await service.exportAdapter(runId, "iter_4");
    await service.deleteExport(id);
    expect(await exportsThere()).toEqual([]);
    await expect(service.zipExport(id, "a.zip")).rejects.toThrow("not in the browser's storage");
    await expect(service.deleteExport("../models")).rejects.toThrow("is not an id");
  });

  test("can still be read by a browser that saves it, and goes later", async () => {
    const waits = hurryWaits();
    const { id } = await service.exportAdapter(runId, "iter_4");
    const zip = await service.zipExport(id, "a.zip");
    await service.deleteExport(id);
    expect((await zip.arrayBuffer()).byteLength).toBe(zip.size);
    await vi.waitFor(async () => expect(await exportsThere()).toEqual([]));
    expect(waits.length).toBe(1);
    expect(waits[0]).toBeGreaterThan(9 * 60_000);
  });

  test("goes earlier where another one needs its room", async () => {
    const { id } = await service.exportAdapter(runId, "iter_4");
    await service.exportedFile(id, "config.yaml");
    await service.deleteExport(id);
    expect(await exportsThere()).toEqual([id]);
    disk.quotaBytes = disk.usedBytes() + 500;
    const next = await service.exportAdapter(runId, "iter_4");
    expect(await exportsThere()).toEqual([next.id]);
  });
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

async function namesIn(folder: FileSystemDirectoryHandle): Promise<string[]> {
  const names: string[] = [];
  for await (const name of (folder as unknown as { keys(): AsyncIterable<string> }).keys())
    names.push(name);
  return names;
}

async function exportsThere(): Promise<string[]> {
  return (await openOpfs()).folder("exports").list();
}
