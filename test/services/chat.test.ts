// The chat of the engine's service, over an engine that says its question back.
import { expect, test, vi } from "vitest";
import { openOpfs } from "../../src/hosts/opfs.ts";
import type { ChatPiece, EngineService, OpenChatRequest } from "../../src/services/api.ts";
import { takeLock } from "../../src/services/locks.ts";
import { type FakeEngine, lostDevice } from "./fake-engine.ts";
import { withFreshService } from "./fresh-service.ts";
import { MODEL, newRun } from "./stored.ts";

const REQUEST = { modelId: MODEL, quantization: "nf4", contextTokens: 64 } as const;
const SAMPLING = {
  maxNewTokens: 8,
  temperature: 0,
  topK: 0,
  topP: 1,
  repetitionPenalty: 1,
  seed: 0,
  stopWords: [],
};

let engine: FakeEngine;
let service: EngineService;

withFreshService((fresh) => ({ engine, service } = fresh));

test("the same request keeps the model, another one takes its place", async () => {
  const progress: number[] = [];
  const info = await service.openChat(REQUEST, (bytes) => progress.push(bytes));
  expect(info).toEqual({
    template: { name: "auto", source: "the model's own" },
    system: "be kind",
    hasAdapter: false,
    contextTokens: 64,
  });
  expect(progress).toEqual([1]);
  // The order of fields says nothing.
  const same: OpenChatRequest = { contextTokens: 64, quantization: "nf4", modelId: MODEL };
  await service.openChat(same, () => {});
  expect(engine.opened.length).toBe(1);
  await service.openChat({ ...REQUEST, contextTokens: 128 }, () => {});
  expect(engine.opened.length).toBe(2);
  await service.openChat({ ...REQUEST, contextTokens: 128, kvCache: "int8" }, () => {});
  expect(engine.opened.map(({ kvCache }) => kvCache)).toEqual(["auto", "auto", "int8"]);
  expect(engine.openChats).toBe(1);
  await service.closeChat();
  await service.closeChat();
  expect(engine.openChats).toBe(0);
});

test("kernel variants that are tried before a model is loaded are told", async () => {
  const told: unknown[] = [];
  await service.openChat(
    REQUEST,
    (bytes, totalBytes) => told.push({ bytes, totalBytes }),
    (progress) => told.push(progress),
  );
  expect(told).toEqual([
    { done: 0, total: 2, slot: "matmul", share: 0 },
    { done: 2, total: 2, slot: undefined, share: 0 },
    { bytes: 1, totalBytes: 2 },
  ]);
});

test("base and tuned answer side by side from one loaded model, one after the other", async () => {
  await service.openChat(REQUEST, () => {});
  const pieces: string[] = [];
  const [base, tuned] = await Promise.all([
    ask("hi", { adapterScale: 0, onPiece: ({ text }) => pieces.push(text) }),
    ask("hi", { adapterScale: 1, onPiece: ({ text }) => pieces.push(text) }),
  ]);
  expect([base.text, tuned.text]).toEqual(["0:hi", "1:hi"]);
  expect(pieces.join("")).toBe("0:hi1:hi");
  expect(engine.opened.length).toBe(1);
});

test("a piece comes with its probability", async () => {
  await service.openChat(REQUEST, () => {});
  const pieces: ChatPiece[] = [];
  await ask("a", { onPiece: (piece) => pieces.push(piece) });
  expect(pieces[0]).toEqual({ text: "1", probability: 0.5 });
});

test("stopping ends the answer under way and those that wait, and the model stays", async () => {
  await service.openChat(REQUEST, () => {});
  engine.beforePiece = (piece) => void (piece === 2 && service.stopReply());
  const replies = await Promise.all([ask("a long one"), ask("never begun")]);
  expect(replies.map(({ text, endedBy }) => ({ text, endedBy }))).toEqual([
    { text: "1:", endedBy: "aborted" },
    { text: "", endedBy: "aborted" },
  ]);
  engine.beforePiece = () => {};
  expect((await ask("again")).text).toBe("1:again");
  expect(engine.opened.length).toBe(1);
});

test("asking before anything is open is told in words", async () => {
  await expect(ask("hello?")).rejects.toThrow("No model is open");
});

test("a GPU lost in between is not noticed: the model is loaded again", async () => {
  await service.openChat(REQUEST, () => {});
  loseOnce(0);
  expect((await ask("hello")).text).toBe("1:hello");
  expect(engine.opened.length).toBe(2);
  expect(engine.openChats).toBe(1);
});

test("a GPU lost in the middle of an answer ends it, and the next answer loads the model again", async () => {
  await service.openChat(REQUEST, () => {});
  loseOnce(3);
  const pieces: string[] = [];
  const reply = ask("hello", { onPiece: ({ text }) => pieces.push(text) });
  await expect(reply).rejects.toThrow("The GPU was lost");
  expect(pieces.join("")).toBe("1:h");
  expect((await ask("hello")).text).toBe("1:hello");
  expect(engine.opened.length).toBe(2);
});

test("a GPU that is lost again at once is no endless loop", async () => {
  await service.openChat(REQUEST, () => {});
  engine.beforePiece = () => {
    throw lostDevice();
  };
  await expect(ask("hello")).rejects.toThrow("The GPU was lost");
  expect(engine.opened.length).toBe(2);
});

test("choosing another model ends the answer and the load under way", async () => {
  await service.openChat(REQUEST, () => {});
  const reply = ask("a long story");
  await service.openChat({ ...REQUEST, quantization: "none" }, () => {});
  expect((await reply).endedBy).toBe("aborted");
  const first = service.openChat({ ...REQUEST, contextTokens: 32 }, () => {});
  const second = service.openChat({ ...REQUEST, contextTokens: 16 }, () => {});
  await expect(first).rejects.toThrow("stopped before it was done");
  expect((await second).contextTokens).toBe(16);
  expect(engine.openChats).toBe(1);
});

test("a run's checkpoint and an imported adapter are found, and what is not there is told", async () => {
  const { id } = await service.createRun(newRun());
  await service.startRun(id, () => {});
  const adapter = { kind: "run", runId: id, checkpoint: "iter_4" } as const;
  expect((await service.openChat({ ...REQUEST, adapter }, () => {})).hasAdapter).toBe(true);
  expect(await engine.opened.at(-1)!.adapter!.size("state.json")).toBe(2);
  const gone = { ...adapter, checkpoint: "iter_5" };
  await expect(service.openChat({ ...REQUEST, adapter: gone }, () => {})).rejects.toThrow("iter_5");
  const imported = { kind: "imported", adapterId: "elsewhere" } as const;
  await expect(service.openChat({ ...REQUEST, adapter: imported }, () => {})).rejects.toThrow(
    'no model "elsewhere"',
  );
  expect(await heldLocks()).toEqual([]);
});

test("the model of an open chat is kept from being removed", async () => {
  await service.openChat(REQUEST, () => {});
  expect(await heldLocks()).toEqual([`hone-model-${MODEL}`]);
  await service.closeChat();
  expect(await heldLocks()).toEqual([]);
});

test("a model that is being written keeps nobody waiting who has something else to ask", async () => {
  const release = await takeLock("hone-model-other");
  const adapter = { kind: "imported", adapterId: "other" } as const;
  const opening = service.openChat({ ...REQUEST, adapter }, () => {});
  opening.catch(() => {}); // looked at below
  await vi.waitFor(async () => expect(await heldLocks()).toContain(`hone-model-${MODEL}`));
  await service.closeChat();
  await expect(opening).rejects.toThrow("stopped before it was done");
  expect(await heldLocks(), "nor the base of that adapter").toEqual(["hone-model-other"]);
  await service.openChat(REQUEST, () => {});
  release!();
});

test("a model and an adapter that are opened, by a chat or a run, are the last used", async () => {
  const models = (await openOpfs()).folder("models");
  const long = "2020-02-02T00:00:00.000Z";
  const origin = { kind: "local" };
  const record = { name: "Any", origin, bytes: 1, addedAt: long, usedAt: long, isComplete: true };
  const write = (id: string, kind: string) =>
    models.write(`${id}/hone.json`, JSON.stringify({ ...record, id, kind }));
  const usedAt = async (id: string) =>
    (JSON.parse(await models.readText(`${id}/hone.json`)) as { usedAt: string }).usedAt;
  const before = new Date().toISOString();
  for (const id of [MODEL, "untouched"]) await write(id, "model");
  await write("tuned", "adapter");
  const adapter = { kind: "imported", adapterId: "tuned" } as const;
  await service.openChat({ ...REQUEST, adapter }, () => {});
  expect([await usedAt(MODEL), await usedAt("tuned")].every((at) => at >= before)).toBe(true);
  await service.closeChat();
  await write(MODEL, "model");
  await service.startRun((await service.createRun(newRun())).id, () => {});
  expect((await usedAt(MODEL)) >= before).toBe(true);
  expect(await usedAt("untouched")).toBe(long);
});

test("while a run is under way the chat is refused, a paused run lends the GPU and takes it back", async () => {
  const { id } = await service.createRun(newRun());
  await service.openChat(REQUEST, () => {});
  engine.beforeStep = async (step) => {
    if (step !== 1) return;
    expect(engine.openChats, "a run closes the chat first").toBe(0);
    await expect(service.openChat(REQUEST, () => {})).rejects.toThrow('busy with "My run"');
    await expect(ask("hi")).rejects.toThrow('busy with "My run"');
    void service.pauseRun();
  };
  const running = service.startRun(id, () => {});
  await vi.waitFor(async () => expect((await service.listRuns())[0]!.status).toBe("paused"));
  await service.openChat(REQUEST, () => {});
  expect((await ask("meanwhile")).text).toBe("1:meanwhile");
  await service.resumeRun();
  expect(engine.openChats).toBe(0);
  await expect(running).resolves.toMatchObject({ endedBy: "finished" });
});

test("the logits are those of the model as trained", async () => {
  await service.openChat(REQUEST, () => {});
  await ask("x", { adapterScale: 0 });
  const logits = await service.firstLogits(REQUEST, [{ role: "user", content: "x" }]);
  expect(logits).toEqual(Float32Array.of(1, 2, 3));
  expect(engine.opened.length).toBe(1);
});

test("a model that is not complete is refused in words", async () => {
  const record = { name: "Half", isComplete: false };
  await (await openOpfs()).write("models/half/hone.json", JSON.stringify(record));
  await expect(service.openChat({ ...REQUEST, modelId: "half" }, () => {})).rejects.toThrow(
    "Half is not complete",
  );
});

interface Asking {
  readonly adapterScale?: number;
  readonly onPiece?: (piece: ChatPiece) => void;
}

function ask(content: string, { adapterScale = 1, onPiece = () => {} }: Asking = {}) {
  const messages = [{ role: "user", content }] as const;
  return service.reply({ messages, sampling: SAMPLING, adapterScale }, onPiece);
}

function loseOnce(at: number): void {
  let isLost = false;
  engine.beforePiece = (piece) => {
    if (piece !== at || isLost) return;
    isLost = true;
    throw lostDevice();
  };
}

async function heldLocks(): Promise<(string | undefined)[]> {
  return ((await navigator.locks.query()).held ?? []).map(({ name }) => name);
}
