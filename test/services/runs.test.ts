// Runs of the engine's service, over an engine that only counts: what is started, refused, told and kept.
import { describe, expect, test, vi } from "vitest";
import { AbortedError } from "../../src/base/error.ts";
import { openOpfs } from "../../src/hosts/opfs.ts";
import type { EngineService, LiveEvent } from "../../src/services/api.ts";
import { createEngineService } from "../../src/services/engine-service.ts";
import { createFakeEngine, type FakeEngine } from "./fake-engine.ts";
import { newestRun, withFreshService } from "./fresh-service.ts";
import { listenToTabs, MODEL, newRun, statusesOf, stepsOf } from "./stored.ts";

let engine: FakeEngine;
let service: EngineService;

withFreshService((fresh) => ({ engine, service } = fresh));

describe("a run from its making to its end", () => {
  test("is made with names that the command line could use", async () => {
    const record = await service.createRun(newRun({}, "My first run!"));
    expect(record).toMatchObject({
      id: "my-first-run",
      status: "new",
      modelName: "Seedling",
      dataName: "sums.jsonl",
      steps: 6,
      checkpoint: null,
      config: { model: "seedling", data: ["sums.jsonl"], work_dir: "work_dirs/my-first-run" },
    });
    const again = await service.createRun(newRun({}, "My first run!"));
    expect(again.id).toBe("my-first-run-2");
    expect((await service.listRuns()).map(({ id }) => id).toSorted()).toEqual([
      "my-first-run",
      "my-first-run-2",
    ]);
  });

  test("trains anew, tells every step in order, and is finished", async () => {
    const { id } = await service.createRun(newRun());
    const events: LiveEvent[] = [];
    const summary = await service.startRun(id, (batch) => events.push(...batch));
    expect(engine.trained[0]).not.toHaveProperty("resume");
    expect(summary).toMatchObject({ endedBy: "finished", step: 6, checkpoint: "iter_6" });
    expect(stepsOf(events)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(statusesOf(events)).toEqual(["running", "finished"]);
    const [record] = await service.listRuns();
    expect(record).toMatchObject({
      status: "finished",
      step: 6,
      steps: 6,
      finalLoss: 10 / 6,
      checkpoint: "iter_6",
      checkpoints: ["iter_2", "iter_4", "iter_6"],
      error: null,
    });
    await expect(service.startRun(id, () => {})).rejects.toThrow("has done all its 6 steps");
  });

  test("is told in few posts, however fast it goes", async () => {
    const { id } = await service.createRun(newRun({ max_steps: 120, save_steps: 1000 }));
    const posts: number[] = [];
    let count = 0;
    await service.startRun(id, (batch) => {
      posts.push(performance.now());
      count += batch.filter(({ type }) => type === "step").length;
    });
    const gaps = posts.slice(1).map((at, i) => at - posts[i]!);
    expect(count).toBe(120);
    // A timer may be up to a millisecond early.
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(99);
  });

  test("goes on although the page that started it is gone", async () => {
    const { id } = await service.createRun(newRun());
    await expect(service.startRun(id, closedPage)).resolves.toMatchObject({ endedBy: "finished" });
  });

  test("is told to other tabs", async () => {
    const heard = listenToTabs();
    const { id } = await service.createRun(newRun());
    await service.startRun(id, () => {});
    await vi.waitFor(() =>
      expect(heard).toContainEqual({
        type: "run",
        id,
        name: "My run",
        status: "finished",
        step: 6,
        steps: 6,
      }),
    );
    expect(heard).toContainEqual({ type: "changed", what: "runs" });
    expect(heard).toContainEqual(expect.objectContaining({ type: "run", status: "running" }));
  });
});

describe("pause, resume and stop", () => {
  test("a paused run has saved, and goes on where it was", async () => {
    const { id } = await service.createRun(newRun());
    const events: LiveEvent[] = [];
    let isPaused = false;
    engine.beforeStep = (step) => {
      if (step === 2 && !isPaused) void service.pauseRun().then(() => (isPaused = true));
    };
    const running = service.startRun(id, (batch) => events.push(...batch));
    await vi.waitFor(() => expect(isPaused).toBe(true));
    expect(await newestRun(service)).toMatchObject({
      status: "paused",
      step: 3,
      checkpoint: "iter_3",
    });
    await service.resumeRun();
    await expect(running).resolves.toMatchObject({ endedBy: "finished", step: 6 });
    expect(statusesOf(events)).toEqual(["running", "paused", "running", "finished"]);
    expect(engine.trained.length).toBe(1);
  });

  test("stopping saves, and the next start resumes", async () => {
    const { id } = await service.createRun(newRun());
    engine.beforeStep = (step) => void (step === 2 && service.stopRun());
    await expect(service.startRun(id, () => {})).resolves.toMatchObject({
      endedBy: "stopped",
      step: 3,
    });
    expect(await newestRun(service)).toMatchObject({
      status: "stopped",
      step: 3,
      checkpoint: "iter_3",
    });
    engine.beforeStep = () => {};
    const events: LiveEvent[] = [];
    await service.startRun(id, (batch) => events.push(...batch));
    expect(engine.trained[1]).toMatchObject({ resume: "last-or-new" });
    expect(stepsOf(events)).toEqual([4, 5, 6]);
  });

  test("a paused run can be stopped, and started in the same breath", async () => {
    const { id } = await service.createRun(newRun());
    engine.beforeStep = (step) => void (step === 1 && service.pauseRun());
    const running = service.startRun(id, () => {});
    await vi.waitFor(async () => expect((await newestRun(service)).status).toBe("paused"));
    engine.beforeStep = () => {};
    await service.stopRun();
    await expect(service.startRun(id, () => {})).resolves.toMatchObject({ endedBy: "finished" });
    await expect(running).resolves.toMatchObject({ endedBy: "stopped", step: 2 });
  });

  test("a run that failed or was stopped before its first step has nothing, and begins anew", async () => {
    const { id } = await service.createRun(newRun());
    engine.beforeStep = () => Promise.reject(new Error("the step failed"));
    await expect(service.startRun(id, () => {})).rejects.toThrow("the step failed");
    expect(await newestRun(service)).toMatchObject({ status: "failed", error: "the step failed" });
    engine.beforeStep = () => {
      void service.stopRun();
      throw new AbortedError();
    };
    await expect(service.startRun(id, () => {})).resolves.toMatchObject({
      endedBy: "stopped",
      step: 0,
      checkpoint: "",
    });
    expect(await newestRun(service)).toMatchObject({
      status: "stopped",
      error: null,
      checkpoint: null,
    });
    engine.beforeStep = () => {};
    await expect(service.startRun(id, () => {})).resolves.toMatchObject({ endedBy: "finished" });
  });

  test("with no run under way they do nothing", async () => {
    await service.pauseRun();
    await service.resumeRun();
    await expect(service.stopRun()).resolves.toBeUndefined();
  });
});

describe("two tabs", () => {
  test("the second is refused with the run of the first named, and can look on", async () => {
    const { id } = await service.createRun(newRun({}, "The first"));
    const { id: other } = await service.createRun(newRun({}, "The second"));
    const secondTab = createEngineService(createFakeEngine());
    let release: (() => void) | undefined;
    engine.beforeStep = (step) =>
      step === 3 ? new Promise((resolve) => (release = resolve)) : undefined;
    const running = service.startRun(id, () => {});
    await vi.waitFor(() => expect(release).toBeDefined());
    await expect(secondTab.startRun(other, () => {})).rejects.toThrow(
      /busy with "The first" in another tab/,
    );
    await expect(secondTab.deleteRun(id)).rejects.toThrow("under way");
    await expect(secondTab.calibrate(MODEL, [], newRun().config)).rejects.toThrow("The first");
    await expect(secondTab.openChat(chatRequest, () => {})).rejects.toThrow("The first");
    const seen = (await secondTab.listRuns()).find((record) => record.id === id);
    expect(seen).toMatchObject({ status: "running" });
    // A new name does not disturb the run, nor the run the name.
    await secondTab.updateRun(id, { name: "Renamed", notes: "by the second tab" });
    release!();
    engine.beforeStep = () => {};
    await expect(running).resolves.toMatchObject({ endedBy: "finished" });
    const records = await secondTab.listRuns();
    expect(records.find((record) => record.id === id)).toMatchObject({
      name: "Renamed",
      notes: "by the second tab",
      status: "finished",
    });
    await expect(secondTab.startRun(other, () => {})).resolves.toMatchObject({ step: 6 });
  });

  test("the tab that has a run refuses a second one and its deletion in its own words", async () => {
    const { id } = await service.createRun(newRun({}, "The first"));
    const { id: other } = await service.createRun(newRun({}, "The second"));
    engine.beforeStep = async (step) => {
      if (step !== 2) return;
      await expect(service.startRun(other, () => {})).rejects.toThrow('busy with "The first".');
      await expect(service.deleteRun(id)).rejects.toThrow("under way");
      await expect(service.openChat(chatRequest, () => {})).rejects.toThrow("The first");
    };
    await expect(service.startRun(id, () => {})).resolves.toMatchObject({ endedBy: "finished" });
    await service.deleteRun(id);
    expect((await service.listRuns()).map((record) => record.id)).toEqual([other]);
    expect(await (await openOpfs()).folder("runs").list()).toEqual([other]);
  });
});

describe("a run that begins with another's adapter", () => {
  test("keeps a copy, so that the parent may go", async () => {
    const { id } = await service.createRun(newRun({}, "Parent"));
    await service.startRun(id, () => {});
    const parent = { runId: id, checkpoint: "iter_4" };
    const fork = await service.createRun({ ...newRun({}, "Fork"), parent });
    expect(fork.config.load_from).toBe("work_dirs/parent/iter_4");
    await service.deleteRun(id);
    await service.startRun(fork.id, () => {});
    const { loadFrom } = engine.trained.at(-1)!;
    expect(await loadFrom!.size("adapter_model.safetensors")).toBe(1004);
  });

  test("is refused, and leaves nothing, where the parent has no such checkpoint", async () => {
    const { id } = await service.createRun(newRun({}, "Parent"));
    const parent = { runId: id, checkpoint: "iter_4" };
    await expect(service.createRun({ ...newRun({}, "Fork"), parent })).rejects.toThrow(
      "no complete checkpoint iter_4",
    );
    expect(await (await openOpfs()).folder("runs").list()).toEqual([id]);
  });
});

test("files of a run are read by three names, and are empty where there are none yet", async () => {
  const { id } = await service.createRun(newRun());
  expect(await service.readRunFile(id, "train.log")).toBe("");
  await service.startRun(id, () => {});
  expect(await service.readRunFile(id, "config.yaml")).toBe("seed: 42\n");
  await expect(service.readRunFile(id, "../run.json" as "train.log")).rejects.toThrow("no file");
});

test("ids that lead elsewhere, and runs that are not there, are refused in words", async () => {
  await expect(service.deleteRun("../models")).rejects.toThrow("is not an id");
  await expect(service.startRun("nobody", () => {})).rejects.toThrow('no run "nobody"');
  await expect(service.updateRun("nobody", { notes: "x" })).rejects.toThrow('no run "nobody"');
});

/** A callback over Comlink, after its page has gone. */
function closedPage(): void {
  return Promise.reject(new Error("the page is gone")) as unknown as void;
}

const chatRequest = { modelId: MODEL, quantization: "nf4", contextTokens: 64 } as const;
