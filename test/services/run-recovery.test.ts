// Runs that something befell: a lost GPU, memory that is out, a tab that was closed at any moment.
import { describe, expect, test, vi } from "vitest";
import { OutOfMemoryError } from "../../src/gpu/device.ts";
import { NoAdapterError } from "../../src/hosts/browser.ts";
import { openOpfs } from "../../src/hosts/opfs.ts";
import type { EngineService, LiveEvent, RunRecord } from "../../src/services/api.ts";
import { createEngineService } from "../../src/services/engine-service.ts";
import type { MemoryDisk } from "../hosts/memory-opfs.ts";
import { createFakeEngine, type FakeEngine, lostDevice } from "./fake-engine.ts";
import { newestRun, withFreshService } from "./fresh-service.ts";
import { hurryWaits, newRun, snapshotOf, statusesOf, stepsOf, stubSnapshot } from "./stored.ts";

let disk: MemoryDisk;
let engine: FakeEngine;
let service: EngineService;

withFreshService((fresh) => ({ disk, engine, service } = fresh));

describe("a GPU that is lost", () => {
  test("the run goes on from its last checkpoint and says so", async () => {
    hurryWaits();
    const { id } = await service.createRun(newRun());
    failOnce(3);
    const events: LiveEvent[] = [];
    const summary = await service.startRun(id, (batch) => events.push(...batch));
    expect(summary).toMatchObject({ endedBy: "finished", step: 6 });
    expect(stepsOf(events)).toEqual([1, 2, 3, 3, 4, 5, 6]);
    expect(events).toContainEqual({
      type: "recovering",
      attempt: 1,
      reason: expect.stringContaining("The GPU was lost"),
    });
    expect(engine.trained.map(({ resume }) => resume)).toEqual([undefined, "last-or-new"]);
    expect(statusesOf(events)).toEqual(["running", "finished"]);
  });

  test("four times without a new checkpoint are borne with longer and longer waits, the fifth ends the run", async () => {
    const waits = hurryWaits();
    const { id } = await service.createRun(newRun());
    engine.beforeStep = (step) => {
      if (step === 3) throw lostDevice();
    };
    await expect(service.startRun(id, () => {})).rejects.toThrow("The GPU was lost");
    expect(engine.trained.length).toBe(5);
    expect(waits).toEqual([1000, 2000, 4000, 8000]);
    expect(await newestRun(service)).toMatchObject({
      status: "failed",
      checkpoint: "iter_2",
      step: 2,
    });
    expect((await newestRun(service)).error).toContain("The GPU was lost");
  });

  test("a browser that offers no adapter for a while after it is asked again", async () => {
    hurryWaits();
    const { id } = await service.createRun(newRun());
    failOnce(3);
    const missing = [
      undefined, // the first start, which loses its GPU
      new NoAdapterError("No adapter.", "Update the driver."),
      new DOMException("The device could not be made.", "OperationError"),
    ];
    engine.beforeTrain = () => {
      const error = missing.shift();
      if (error) throw error;
    };
    await expect(service.startRun(id, () => {})).resolves.toMatchObject({ step: 6 });
    expect(engine.trained.length).toBe(4);
  });

  test("a browser that has no adapter from the beginning is not asked again", async () => {
    const { id } = await service.createRun(newRun());
    engine.beforeTrain = () => {
      throw new NoAdapterError("No adapter.", "Update the driver.");
    };
    await expect(service.startRun(id, () => {})).rejects.toThrow("Update the driver.");
    expect(engine.trained.length).toBe(1);
  });

  test("stopped while it waits for the GPU: it is stopped at once", async () => {
    const { id } = await service.createRun(newRun());
    failOnce(3);
    const summary = await service.startRun(id, (events) => {
      if (events.some(({ type }) => type === "recovering")) void service.stopRun();
    });
    expect(summary).toMatchObject({ endedBy: "stopped", step: 2, checkpoint: "iter_2" });
    expect(engine.trained.length).toBe(1);
  });

  test("a new checkpoint counts the losses anew", async () => {
    hurryWaits();
    const { id } = await service.createRun(newRun({ max_steps: 12 }));
    const losses = new Map<number, number>();
    engine.beforeStep = (step) => {
      const count = losses.get(step) ?? 0;
      losses.set(step, count + 1);
      if (step % 2 === 1 && count < 3) throw lostDevice();
    };
    await expect(service.startRun(id, () => {})).resolves.toMatchObject({ step: 12 });
    expect(engine.trained.length).toBe(1 + 6 * 3);
  });

  test("lost while it is being stopped: it is stopped, and not loaded again", async () => {
    const { id } = await service.createRun(newRun());
    engine.beforeStep = (step) => {
      if (step !== 3) return;
      void service.stopRun();
      throw lostDevice();
    };
    await expect(service.startRun(id, () => {})).resolves.toMatchObject({
      endedBy: "stopped",
      step: 2,
      checkpoint: "iter_2",
    });
    expect(engine.trained.length).toBe(1);
  });

  test("memory that is out ends the run with the remedy kept", async () => {
    const { id } = await service.createRun(newRun());
    engine.beforeStep = () => {
      throw new OutOfMemoryError("No room for 1 GiB.", "Set batch_size: 1.", 0);
    };
    const events: LiveEvent[] = [];
    const running = service.startRun(id, (batch) => events.push(...batch));
    await expect(running).rejects.toThrow("Set batch_size: 1.");
    expect(engine.trained.length).toBe(1);
    expect(await newestRun(service)).toMatchObject({
      status: "failed",
      error: "No room for 1 GiB.\nSet batch_size: 1.",
    });
    expect(statusesOf(events)).toEqual(["running", "failed"]);
  });
});

describe("a tab that is closed", () => {
  test("killed at any event, the run reads as interrupted and goes on to the same end", async () => {
    const { id } = await service.createRun(newRun());
    const snapshots = [snapshotOf(disk)];
    const working = createFakeEngine();
    engine.train = (request) =>
      working.train({
        ...request,
        onEvent(event) {
          request.onEvent(event);
          snapshots.push(snapshotOf(disk));
        },
      });
    await service.startRun(id, () => {});
    const whole = await service.readHistory(id);
    expect(snapshots.length).toBeGreaterThan(10); // 6 steps, 3 checkpoints, data and plan, and before
    for (const [at, snapshot] of snapshots.entries()) {
      disk = await stubSnapshot(snapshot);
      const restarted = createEngineService(createFakeEngine());
      const [record] = await restarted.listRuns();
      expect(["new", "interrupted"], `killed at event ${at}`).toContain(record!.status);
      const summary = await restarted.startRun(id, () => {});
      expect(summary, `killed at event ${at}`).toMatchObject({ step: 6, finalLoss: 10 / 6 });
      expect((await restarted.listRuns())[0]).toMatchObject({ status: "finished", step: 6 });
      const losses = (await restarted.readHistory(id)).steps.slice(-6).map(({ loss }) => loss);
      expect(losses.at(-1)).toBe(whole.steps.at(-1)!.loss);
    }
  });

  test("a record that says running, with no tab behind it, is told from its folder", async () => {
    const { id } = await service.createRun(newRun());
    engine.beforeStep = (step) => void (step === 4 && service.stopRun());
    await service.startRun(id, () => {});
    const folder = (await openOpfs()).folder(`runs/${id}`);
    const json = JSON.parse(await folder.readText("run.json")) as RunRecord;
    const stale = { ...json, status: "running", step: 99, checkpoint: "iter_99", finalLoss: 3 };
    await folder.write("run.json", JSON.stringify(stale));
    expect(await newestRun(service)).toMatchObject({
      status: "interrupted",
      step: 5,
      checkpoint: "iter_5",
      finalLoss: 2,
    });
  });

  test("a checkpoint that was cut off is none", async () => {
    const { id } = await service.createRun(newRun());
    await service.startRun(id, () => {});
    const folder = (await openOpfs()).folder(`runs/${id}`);
    await folder.remove("work/iter_6/state.json");
    const json = JSON.parse(await folder.readText("run.json")) as RunRecord;
    await folder.write("run.json", JSON.stringify({ ...json, status: "running" }));
    expect(await newestRun(service)).toMatchObject({
      status: "interrupted",
      checkpoint: "iter_4",
      checkpoints: ["iter_2", "iter_4"],
      step: 4,
    });
  });

  test("what is left of a run without a record goes at the next start; others stay", async () => {
    const { id } = await service.createRun(newRun());
    const runs = (await openOpfs()).folder("runs");
    await runs.write("half-deleted/work/metrics.jsonl", "");
    await runs.write("damaged/run.json", "{}");
    await service.configure({ hubUrl: "https://example.org", pageUrl: "https://example.net/" });
    await vi.waitFor(async () => expect(await runs.list()).toEqual(["damaged", id]));
    expect((await service.listRuns()).map((record) => record.id)).toEqual([id]);
    await service.deleteRun("damaged");
    expect(await runs.list()).toEqual([id]);
  });
});

function failOnce(at: number): void {
  let hasFailed = false;
  engine.beforeStep = (step) => {
    if (step !== at || hasFailed) return;
    hasFailed = true;
    throw lostDevice();
  };
}
