// Asking a run to pause, go on or end at awkward moments: whoever asks gets an answer, and the one that holds.
import { describe, expect, test, vi } from "vitest";
import type { EngineService, LiveEvent } from "../../src/services/api.ts";
import { RECORDS_LOCK, takeLock } from "../../src/services/locks.ts";
import type { MemoryDisk } from "../hosts/memory-opfs.ts";
import type { FakeEngine } from "./fake-engine.ts";
import { newestRun, withFreshService } from "./fresh-service.ts";
import { createGate, DATA, listenToTabs, MODEL, newRun, statusesOf } from "./stored.ts";

let disk: MemoryDisk;
let engine: FakeEngine;
let service: EngineService;

withFreshService((fresh) => ({ disk, engine, service } = fresh));

describe("a disk that is full", () => {
  test("a run whose record cannot be written ends as it ends, and all are told", async () => {
    const heard = listenToTabs();
    const { id } = await service.createRun(newRun());
    engine.beforeStep = (step) => void (step === 1 && refuseRecords());
    const events: LiveEvent[] = [];
    const running = service.startRun(id, (batch) => events.push(...batch));
    await expect(running).resolves.toMatchObject({ endedBy: "finished", step: 6 });
    expect(statusesOf(events)).toEqual(["running", "finished"]);
    expect(events).toContainEqual({
      type: "warning",
      message: expect.stringContaining("no room"),
    });
    await vi.waitFor(() =>
      expect(heard).toContainEqual(expect.objectContaining({ type: "run", status: "finished" })),
    );
    // Made true when it is read, and written when there is room.
    expect(await newestRun(service)).toMatchObject({
      status: "interrupted",
      checkpoint: "iter_6",
      step: 6,
    });
    disk.fault = undefined;
    expect(await newestRun(service)).toMatchObject({
      status: "interrupted",
      checkpoint: "iter_6",
      step: 6,
    });
  });

  test("whoever waits for a pause is answered when the run fails instead", async () => {
    const { id } = await service.createRun(newRun());
    let pausing: Promise<void> | undefined;
    engine.beforeStep = (step) => {
      if (step !== 1) return;
      refuseRecords();
      pausing = service.pauseRun();
      throw new Error("no room for the checkpoint");
    };
    const events: LiveEvent[] = [];
    const running = service.startRun(id, (batch) => events.push(...batch));
    await expect(running).rejects.toThrow("no room for the checkpoint");
    await expect(pausing).resolves.toBeUndefined();
    expect(statusesOf(events)).toEqual(["running", "failed"]);
    disk.fault = undefined;
  });
});

describe("before a run has begun", () => {
  test("it can be paused, which resolves when it waits", async () => {
    const { id } = await service.createRun(newRun());
    const running = service.startRun(id, () => {});
    await Promise.all([service.pauseRun(), service.pauseRun()]);
    expect(await newestRun(service)).toMatchObject({ status: "paused", step: 0 });
    await service.resumeRun();
    await expect(running).resolves.toMatchObject({ endedBy: "finished" });
  });

  test("it can be stopped, which takes no step", async () => {
    const { id } = await service.createRun(newRun());
    const releaseRecords = await takeLock(RECORDS_LOCK);
    const running = service.startRun(id, () => {});
    const stopping = service.stopRun();
    releaseRecords!();
    await stopping;
    await expect(running).resolves.toMatchObject({ endedBy: "stopped", step: 0 });
    expect(await newestRun(service)).toMatchObject({ status: "stopped" });
  });

  test("it can be stopped while it waits for a measurement", async () => {
    const { id } = await service.createRun(newRun());
    const measured = createGate();
    engine.beforeStep = () => measured.opened;
    const measuring = service.calibrate(MODEL, [DATA], newRun().config);
    await vi.waitFor(() => expect(engine.trained.length).toBe(1));
    const running = service.startRun(id, () => {});
    await service.stopRun();
    await expect(running).resolves.toMatchObject({ endedBy: "stopped" });
    measured.open();
    await measuring;
    expect(engine.trained.length).toBe(1);
  });

  test("it can be stopped while somebody writes its model", async () => {
    const { id } = await service.createRun(newRun());
    const releaseModel = await takeLock(`hone-model-${MODEL}`);
    const running = service.startRun(id, () => {});
    await vi.waitFor(async () =>
      expect(await newestRun(service)).toMatchObject({ status: "running" }),
    );
    await service.stopRun();
    await expect(running).resolves.toMatchObject({ endedBy: "stopped", step: 0 });
    releaseModel!();
  });
});

describe("while a run goes on after a pause", () => {
  test("it may be stopped, and nobody trips over that", async () => {
    const { running, reply, letGo } = await pauseWithChat();
    const resuming = service.resumeRun();
    await service.stopRun();
    letGo();
    await expect(resuming).resolves.toBeUndefined();
    await expect(running).resolves.toMatchObject({ endedBy: "stopped", step: 2 });
    await reply;
  });

  test("no chat takes the GPU that was just freed for it", async () => {
    const { running, reply, letGo } = await pauseWithChat();
    const resuming = service.resumeRun();
    const opening = service.openChat(CHAT, () => {});
    letGo();
    await expect(opening).rejects.toThrow('busy with "My run"');
    await Promise.all([resuming, reply]);
    await expect(running).resolves.toMatchObject({ endedBy: "finished" });
    expect(engine.openChats).toBe(0);
  });
});

const CHAT = { modelId: MODEL, quantization: "nf4", contextTokens: 64 } as const;
const SAMPLING = {
  maxNewTokens: 8,
  temperature: 0,
  topK: 0,
  topP: 1,
  repetitionPenalty: 1,
  seed: 0,
  stopWords: [],
};

/** From now on no run's record can be written; a checkpoint can. */
function refuseRecords(): void {
  disk.fault = (operation, name) => {
    if (operation === "move" && name === "run.json") {
      throw new DOMException("full", "QuotaExceededError");
    }
  };
}

/** A paused run beside a chat that answers until `letGo` is called: as long as that takes, the chat stays. */
async function pauseWithChat() {
  const { id } = await service.createRun(newRun());
  engine.beforeStep = (step) => void (step === 1 && service.pauseRun());
  const running = service.startRun(id, () => {});
  await vi.waitFor(async () => expect((await newestRun(service)).status).toBe("paused"));
  await service.openChat(CHAT, () => {});
  const gate = createGate();
  engine.beforePiece = () => gate.opened;
  const reply = service.reply(
    { messages: [{ role: "user", content: "hi" }], sampling: SAMPLING, adapterScale: 1 },
    () => {},
  );
  await new Promise((resolve) => setTimeout(resolve, 20));
  return { running, reply, letGo: gate.open };
}
