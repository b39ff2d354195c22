// Runs of the engine's service on the real engine, over private files in memory: whatever comes between, the
// numbers are those of a run that nothing came between.
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { createEngine, type Engine, type TrainEvent } from "../../../src/engine.ts";
import { nodeHost } from "../../../src/hosts/node.ts";
import type { AdapterChoice } from "../../../src/hosts/node-gpu.ts";
import { openOpfs } from "../../../src/hosts/opfs.ts";
import type { EngineService, LiveEvent, RunHistory } from "../../../src/services/api.ts";
import { createEngineService } from "../../../src/services/engine-service.ts";
import type { MemoryDisk } from "../../hosts/memory-opfs.ts";
import {
  DATA,
  MODEL,
  newRun,
  type Snapshot,
  snapshotOf,
  stubSnapshot,
  stubStored,
} from "../../services/stored.ts";
import { tinyRows, writeTinyModel } from "../tiny-folder.ts";

const adapter = (process.env["HONE_ADAPTER"] ?? "swiftshader") as AdapterChoice;
const engine = createEngine(nodeHost({ adapter }));
const model = writeTinyModel();
const data = tinyRows(40)
  .map((row) => `${JSON.stringify(row)}\n`)
  .join("");

const STEPS = 5;
const RUN = newRun({
  max_length: 32,
  batch_size: 1,
  accumulative_counts: 1,
  max_steps: STEPS,
  lr: 1e-2,
  lora: { r: 4, lora_alpha: 8, lora_dropout: 0.2 },
  eval_split: 0.1,
  evaluation_freq: 3,
  save_steps: 2,
  save_total_limit: -1,
  seed: 3,
});

afterAll(() => engine.close());
afterEach(() => vi.unstubAllGlobals());

/** What a run leaves that must be equal to the bit: its numbers and all that it told. */
interface Outcome {
  readonly history: RunHistory;
  readonly files: Record<string, Uint8Array>;
}

let whole: Outcome;
/** The disk at events of the whole run, and in the middle of its first checkpoint becoming one. */
const KILLED_AT = ["plan", "eval 0", "step 2", "checkpoint 2", "eval 3", "checkpoint 5", "eval 5"];
const killed = new Map<string, Snapshot>();

beforeAll(async () => {
  const disk = await stubStored(model, data);
  const note = (when: string) => {
    if (!killed.has(when)) killed.set(when, snapshotOf(disk));
  };
  disk.fault = (operation, name) => {
    if (operation === "move") note(`before ${name} moves`);
  };
  const watched = watch((event) => {
    const name = "step" in event ? `${event.type} ${event.step}` : event.type;
    if (KILLED_AT.includes(name)) note(name);
  });
  const { service, id } = await begin(watched);
  await service.startRun(id, () => {});
  disk.fault = undefined;
  whole = await outcomeOf(service, id);
  vi.unstubAllGlobals();
});

test("the whole run is one worth comparing with", () => {
  expect(whole.history.steps.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5]);
  expect(whole.history.evals.map(({ step }) => step)).toEqual([0, 3, 5]);
  expect(new Set(whole.history.steps.map(({ loss }) => loss)).size).toBe(STEPS);
});

test("paused and resumed: equal to the bit, with a chat in between", async () => {
  await stubStored(model, data);
  let service: EngineService | undefined;
  const pausing = watch((event) => {
    if (event.type === "step" && event.step === 2) void service!.pauseRun();
  });
  const begun = await begin(pausing);
  ({ service } = begun);
  const running = service.startRun(begun.id, () => {});
  await vi.waitFor(
    async () => expect((await begun.service.listRuns())[0]!.status).toBe("paused"),
    20_000,
  );
  const { checkpoint } = (await service.listRuns())[0]!;
  await service.openChat(
    {
      modelId: MODEL,
      adapter: { kind: "run", runId: begun.id, checkpoint: checkpoint! },
      quantization: "nf4",
      contextTokens: 64,
    },
    () => {},
  );
  const messages = [{ role: "user", content: "What is 2 plus 2?" }] as const;
  const pieces: string[] = [];
  const reply = await service.reply({ messages, sampling: GREEDY, adapterScale: 1 }, ({ text }) =>
    pieces.push(text),
  );
  expect(pieces.join("")).toBe(reply.text);
  await service.resumeRun();
  await expect(running).resolves.toMatchObject({ endedBy: "finished", step: STEPS });
  expectSame(await outcomeOf(service, begun.id), whole);
});

test.each(KILLED_AT)("killed at %s and started again: equal to the bit", async (event) => {
  await expectResumed(killed.get(event)!);
});

// The checkpoint's files move one by one, state.json last; the pointer to it comes after them.
test.each(["adapter_model.safetensors", "state.json", "last_checkpoint"])(
  "killed before %s is in its place and started again: equal to the bit",
  async (name) => {
    await expectResumed(killed.get(`before ${name} moves`)!);
  },
);

test("the GPU is lost: the run goes on by itself, equal to the bit", async () => {
  await stubStored(model, data);
  let isLost = false;
  const losing = watch((event) => {
    if (event.type !== "step" || event.step !== 3 || isLost) return;
    isLost = true;
    void engine.loseDevice();
  });
  const { service, id } = await begin(losing);
  const events: LiveEvent[] = [];
  const summary = await service.startRun(id, (batch) => events.push(...batch));
  expect(summary).toMatchObject({ endedBy: "finished", step: STEPS });
  expect(events.filter(({ type }) => type === "recovering").length).toBe(1);
  expectSame(await outcomeOf(service, id), whole);
});

test("the GPU is lost between two answers: nobody notices", async () => {
  await stubStored(model, data);
  const service = createEngineService(engine);
  await service.openChat({ modelId: MODEL, quantization: "nf4", contextTokens: 64 }, () => {});
  const messages = [{ role: "user", content: "What is 2 plus 2?" }] as const;
  const ask = () => service.reply({ messages, sampling: GREEDY, adapterScale: 1 }, () => {});
  const { text } = await ask();
  await service.loseDevice();
  expect((await ask()).text).toBe(text);
  await service.closeChat();
});

test("three steps are measured, and the storage is as before", async () => {
  const disk: MemoryDisk = await stubStored(model, data);
  const service = createEngineService(engine);
  const before = disk.usedBytes();
  const config = { ...RUN.config, max_steps: -1, max_epochs: 2 };
  const measured = await service.calibrate(MODEL, [DATA], config);
  expect(measured.secondsPerStep).toBeGreaterThan(0);
  expect(measured.tokensPerSecond).toBeGreaterThan(0);
  expect(measured.totalSeconds).toBeGreaterThan(measured.secondsPerStep * (measured.steps - 1));
  expect(disk.usedBytes()).toBe(before);
  // As many as the run itself plans.
  const { id } = await service.createRun({ ...RUN, config });
  const planned: number[] = [];
  await service.startRun(id, (events) => {
    planned.push(...events.flatMap((event) => (event.type === "plan" ? [event.plan.steps] : [])));
    if (planned.length > 0) void service.stopRun();
  });
  expect(Math.abs(measured.steps - planned[0]!)).toBeLessThanOrEqual(1);
});

test("a run is estimated on the real limits, for a budget it fits and for one it does not", async () => {
  await stubStored(model, data);
  const service = createEngineService(engine);
  // Fixed, since "auto" would turn it on where the budget is short; and rows so long that a step takes more
  // than loading does.
  const config = { ...RUN.config, max_length: 256, gradient_checkpointing: false } as const;
  const verdict = async (budgetBytes: number) => service.estimate(MODEL, config, budgetBytes, true);
  const roomy = await verdict(2 ** 33);
  expect(roomy).toMatchObject({ verdict: "fits", settings: [] });
  const { total } = roomy.memory;
  expect((await verdict(Math.ceil(total * 1.01))).verdict).toBe("tight");
  const short = await verdict(total - 1);
  expect(short.verdict).toBe("too-big");
  expect(short.settings).toContain("gradient_checkpointing=true");
  // One checkpoint, as it is on the disk: within the few hundred bytes of its JSON's numbers.
  const { id } = await service.createRun(RUN);
  await service.startRun(id, (events) => void (events.some(isStep) && service.stopRun()));
  const { checkpoint } = (await service.listRuns())[0]!;
  const folder = (await openOpfs()).folder(`runs/${id}/work/${checkpoint}`);
  const sizes = await Promise.all((await folder.list()).map((name) => folder.size(name)));
  const bytes = sizes.reduce<number>((sum, size) => sum + (size ?? 0), 0);
  expect(Math.abs(roomy.checkpointBytes - bytes)).toBeLessThan(0.1 * bytes);
});

const GREEDY = {
  maxNewTokens: 8,
  temperature: 0,
  topK: 0,
  topP: 1,
  repetitionPenalty: 1,
  seed: 0,
  stopWords: [],
};

function isStep({ type }: LiveEvent): boolean {
  return type === "step";
}

/** The engine, with somebody looking at its events before anybody else. */
function watch(onEvent: (event: TrainEvent) => void): Engine {
  return {
    ...engine,
    train: (request) =>
      engine.train({
        ...request,
        onEvent(event) {
          onEvent(event);
          request.onEvent(event);
        },
      }),
  };
}

async function begin(used: Engine): Promise<{ service: EngineService; id: string }> {
  const service = createEngineService(used);
  const { id } = await service.createRun(RUN);
  return { service, id };
}

async function expectResumed(snapshot: Snapshot): Promise<void> {
  await stubSnapshot(snapshot);
  const service = createEngineService(engine);
  const [record] = await service.listRuns();
  if (record!.status !== "finished") await service.startRun(record!.id, () => {});
  expect((await service.listRuns())[0]).toMatchObject({ status: "finished", step: STEPS });
  expectSame(await outcomeOf(service, record!.id), whole);
}

async function outcomeOf(service: EngineService, id: string): Promise<Outcome> {
  const { steps, evals, samples } = await service.readHistory(id);
  const folder = (await openOpfs()).folder(`runs/${id}/work/iter_${STEPS}`);
  const files: Record<string, Uint8Array> = {};
  for (const name of ["adapter_model.safetensors", "optimizer.safetensors"]) {
    files[name] = await folder.read(name);
  }
  // Speed is no number of the run.
  const timeless = steps.map((step) => ({ ...step, tokensPerSecond: 0, etaSeconds: 0 }));
  return { history: { steps: timeless, evals, samples }, files };
}

function expectSame(actual: Outcome, expected: Outcome): void {
  expect(actual.history).toEqual(expected.history);
  for (const [name, bytes] of Object.entries(expected.files)) {
    expect(Buffer.from(bytes).equals(actual.files[name]!), name).toBe(true);
  }
}
