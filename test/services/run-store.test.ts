// Records of runs: what is read for a list, what a full disk hides, and what is locked for how long.
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { openOpfs } from "../../src/hosts/opfs.ts";
import type { EngineService, RunRecord } from "../../src/services/api.ts";
import { createEngineService } from "../../src/services/engine-service.ts";
import { RECORDS_LOCK, takeLock } from "../../src/services/locks.ts";
import { findProgress } from "../../src/services/run-record.ts";
import { checkpointFolder, workFolder } from "../../src/services/run-store.ts";
import type { MemoryDisk } from "../hosts/memory-opfs.ts";
import { createFakeEngine, type FakeEngine } from "./fake-engine.ts";
import { createGate, expectClosed, newRun, stubStored } from "./stored.ts";

let disk: MemoryDisk;
let engine: FakeEngine;
let service: EngineService;

beforeEach(async () => {
  disk = await stubStored();
  engine = createFakeEngine();
  service = createEngineService(engine);
});

afterEach(() => {
  disk.fault = undefined;
  expectClosed(disk);
  vi.unstubAllGlobals();
});

test("with a full disk, runs that a closed tab left are listed all the same", async () => {
  const { id } = await service.createRun(newRun());
  await service.startRun(id, () => {});
  await rewrite(id, { status: "running", step: 3, checkpoint: "iter_2" });
  disk.fault = (operation) => {
    if (operation === "write") throw new DOMException("full", "QuotaExceededError");
  };
  const records = await service.listRuns();
  expect(records.map(({ status, checkpoint }) => [status, checkpoint])).toEqual([
    ["interrupted", "iter_6"],
  ]);
});

test("a list of runs that are over looks into none of their work directories, and waits for nobody", async () => {
  const { id } = await service.createRun(newRun());
  await service.startRun(id, () => {});
  const record = await rewrite(id, {});
  for (let copy = 0; copy < 40; copy++) {
    const text = JSON.stringify({ ...record, id: `copy-${copy}`, createdAt: stamp(copy) });
    await (await openOpfs()).write(`runs/copy-${copy}/run.json`, text);
  }
  const opened: string[] = [];
  disk.fault = (operation, name) => {
    if (operation === "getDirectoryHandle") opened.push(name);
  };
  // As while another tab writes a record, or a run's adapter is copied.
  const release = await takeLock(RECORDS_LOCK);
  const records = await service.listRuns();
  release!();
  expect(records.length).toBe(41);
  const copies = records.map((listed) => listed.id).filter((listed) => listed !== id);
  expect(copies.slice(0, 3), "the newest first").toEqual(["copy-39", "copy-38", "copy-37"]);
  expect(opened).not.toContain("work");
});

test("while a parent's adapter is copied, records are read and written, and the folder is nobody else's", async () => {
  const { id } = await service.createRun(newRun({}, "Parent"));
  await service.startRun(id, () => {});
  const copied = createGate();
  engine.beforeCopy = () => copied.opened;
  const parent = { runId: id, checkpoint: "iter_4" };
  const forking = service.createRun({ ...newRun({}, "Fork"), parent });
  await new Promise((resolve) => setTimeout(resolve, 20));
  await service.updateRun(id, { notes: "meanwhile" });
  const second = await service.createRun(newRun({}, "Fork"));
  // Another tab starts, and clears away what is nobody's.
  const otherTab = createEngineService(createFakeEngine());
  await otherTab.configure({ hubUrl: "https://example.org", pageUrl: "https://example.net/" });
  copied.open();
  const fork = await forking;
  expect([fork.id, second.id].toSorted()).toEqual(["fork", "fork-2"]);
  expect((await service.listRuns()).map((record) => record.id).toSorted()).toEqual([
    "fork",
    "fork-2",
    "parent",
  ]);
  await service.startRun(fork.id, () => {});
  expect(await engine.trained.at(-1)!.loadFrom!.size("adapter_model.safetensors")).toBe(1004);
});

test("at a checkpoint the losses of the whole run are not read again", async () => {
  const { id } = await service.createRun(newRun());
  const reads: string[] = [];
  let isTraining = false;
  disk.fault = (operation, name) => {
    if (isTraining && operation === "getFile") reads.push(name);
  };
  const losses: (number | null)[] = [];
  engine.beforeStep = async (step) => {
    isTraining = step > 0 && step < 5;
    if (step === 3 || step === 5) losses.push((await service.listRuns())[0]!.finalLoss);
  };
  await service.startRun(id, () => {});
  expect(losses, "of steps 2 and 4, by their checkpoints").toEqual([10 / 2, 10 / 4]);
  expect(reads).toContain("run.json");
  expect(reads).not.toContain("metrics.jsonl");
});

test("a checkpoint's loss is found from the end of a long log", async () => {
  const { id } = await service.createRun(newRun());
  await service.startRun(id, () => {});
  const work = (await openOpfs()).folder(`runs/${id}/work`);
  // Odd lengths, and letters of three bytes, so that a piece may begin in the middle of one.
  const lines = Array.from({ length: 9001 }, (_, i) =>
    JSON.stringify(
      i % 10 === 9
        ? { type: "sample", step: i, input: "日本".repeat(i % 7), output: "…" }
        : { type: "step", step: i, loss: i / 8 },
    ),
  );
  const before = lines.slice(0, 7).join("\n");
  await work.write("metrics.jsonl", `${lines.join("\n")}\n{"type":"step","ste`);
  await work.write("iter_8998/state.json", "{}");
  const readBytes: number[] = [];
  const spied = {
    ...work,
    read: async (name: string, start?: number, end?: number) => {
      const bytes = await work.read(name, start, end);
      readBytes.push(bytes.length);
      return bytes;
    },
  };
  await work.write("last_checkpoint", "iter_8998\n");
  expect(await findProgress(spied)).toMatchObject({ step: 8998, finalLoss: 8998 / 8 });
  expect(readBytes.length).toBe(1);
  expect(readBytes[0]).toBeLessThan(lines.join("\n").length / 4);
  // Further back than the first piece; and one that has no line.
  await work.write("last_checkpoint", "iter_6\n");
  expect(await findProgress(work)).toMatchObject({ step: 6, finalLoss: 6 / 8 });
  await work.write("metrics.jsonl", before.replace('"step":6', '"step":60'));
  expect(await findProgress(work)).toMatchObject({ step: 6, finalLoss: null });
});

test("checkpoints of a run under compat are found by XTuner's names", async () => {
  const { id } = await service.createRun(newRun());
  const work = await workFolder(id);
  for (const name of ["iter_300.pth", "iter_600.pth"]) await work.write(`${name}/state.json`, "{}");
  await work.write("last_checkpoint", "/opfs/runs/a/work/iter_300.pth");
  expect(await findProgress(work)).toMatchObject({
    step: 300,
    checkpoint: "iter_300.pth",
    checkpoints: ["iter_300.pth", "iter_600.pth"],
  });
  expect((await checkpointFolder(id, "iter_600.pth")).path).toContain("iter_600.pth");
  await expect(checkpointFolder(id, "iter_600.pth/..")).rejects.toThrow("no complete checkpoint");
});

async function rewrite(id: string, change: Partial<RunRecord>): Promise<RunRecord> {
  const folder = (await openOpfs()).folder(`runs/${id}`);
  const record = { ...(JSON.parse(await folder.readText("run.json")) as RunRecord), ...change };
  await folder.write("run.json", JSON.stringify(record));
  return record;
}

function stamp(minute: number): string {
  return new Date(Date.UTC(2031, 0, 1, 0, minute)).toISOString();
}
