// An engine without a GPU: it takes steps, saves, pauses and ends as the real one promises, and can be made
// to fail at any of them.
import { AbortedError, throwIfAborted } from "../../src/base/error.ts";
import type { Folder } from "../../src/base/folder.ts";
import type { Chat, Engine, LoadRequest, StepReport, TrainRequest } from "../../src/engine.ts";
import { DeviceLostError } from "../../src/gpu/device.ts";

export interface FakeEngine extends Engine {
  readonly trained: TrainRequest[];
  readonly opened: LoadRequest[];
  /** Chats that are open now. */
  openChats: number;
  /** Called before each step (0-based); what it throws ends the run. */
  beforeStep: (step: number) => void | Promise<void>;
  /** Called before each piece of an answer. */
  beforePiece: (piece: number) => void | Promise<void>;
  /** Called before a load, an adapter's copy, and a merge between its two files. */
  beforeTrain: () => void | Promise<void>;
  beforeCopy: () => void | Promise<void>;
  inMerge: () => void | Promise<void>;
  size: () => ReturnType<Engine["estimate"]>;
}

const DATA_ROWS = 40;

export function createFakeEngine(): FakeEngine {
  const fake: FakeEngine = {
    trained: [],
    opened: [],
    openChats: 0,
    beforeStep: () => {},
    beforePiece: () => {},
    beforeTrain: () => {},
    beforeCopy: () => {},
    inMerge: () => {},
    size: refuse,
    inspect: refuse,
    kernels: refuse,
    estimate: () => fake.size(),
    probeMemory: async (limitBytes) => limitBytes,
    loseDevice: async () => {},
    async train(request) {
      fake.trained.push(request);
      await fake.beforeTrain();
      return takeSteps(fake, request);
    },
    async openChat(request) {
      fake.opened.push(request);
      request.onTrying?.(0, 2, { slot: "matmul" });
      request.onTrying?.(2, 2, {});
      request.onProgress?.(1, 2);
      await tick();
      throwIfAborted(request.signal);
      fake.openChats++;
      return fakeChat(fake);
    },
    dryRun: refuse,
    evaluate: refuse,
    askChoices: refuse,
    async exportAdapter(checkpoint, output) {
      await fake.beforeCopy();
      for (const name of ["adapter_config.json", "adapter_model.safetensors"]) {
        await output.write(name, await checkpoint.read(name));
      }
      return { files: [], check: "2 files read back" };
    },
    async merge({ output, onProgress, signal, dtype = "own", base = "" }) {
      onProgress?.(1, 1);
      await output.write("model.safetensors", new Uint8Array(3001).fill(7));
      await fake.inMerge();
      throwIfAborted(signal);
      await output.write("config.json", JSON.stringify({ dtype, base }));
      return { files: [], check: "1 tensor read back" };
    },
    convertModel: refuse,
    quantizeModel: refuse,
    convertAdapter: refuse,
    readCheckpointConfig: refuse,
    convertCheckpoint: refuse,
    splitModel: refuse,
    close: () => {},
  };
  return fake;
}

function refuse(): Promise<never> {
  return Promise.reject(new Error("not part of this test"));
}

export function lostDevice(): DeviceLostError {
  return new DeviceLostError("unknown", "the driver was reset");
}

async function takeSteps(fake: FakeEngine, request: TrainRequest) {
  const { config, workDir, signal, pausing, resume, onEvent } = request;
  const steps = config.max_steps;
  throwIfAborted(signal);
  const saved = await newestStep(workDir);
  if (resume === undefined && saved > 0) throw new Error("the folder is used");
  if (resume === "last" && saved === 0) throw new Error("there is no checkpoint");
  if (saved === 0) await workDir.write("metrics.jsonl", "");
  await workDir.write("config.yaml", "seed: 42\n");
  // As real as the services look at it.
  const funnel = { kept: DATA_ROWS } as never;
  onEvent({ type: "data", funnel, rows: DATA_ROWS, evalRows: 0 });
  const plan = { steps, firstStep: saved } as never;
  onEvent({ type: "plan", plan });
  let step = saved;
  let savedStep = saved;
  const save = async () => {
    if (savedStep === step) return;
    await writeCheckpoint(workDir, step);
    savedStep = step;
    onEvent({ type: "checkpoint", step, name: `iter_${step}` });
  };
  while (step < steps && !signal?.aborted) {
    if (pausing?.isPaused()) {
      await save();
      onEvent({ type: "paused", step });
      await pausing.resumed();
      if (!signal?.aborted) onEvent({ type: "resumed", step });
      continue;
    }
    await tick();
    await fake.beforeStep(step);
    step++;
    const report = reportOf(step, steps);
    await workDir.append("metrics.jsonl", `${JSON.stringify({ type: "step", ...report })}\n`);
    onEvent({ type: "step", ...report });
    if (step % config.save_steps === 0 || step === steps) await save();
  }
  if (step === 0) throw new AbortedError();
  await save();
  return {
    endedBy: step === steps ? ("finished" as const) : ("stopped" as const),
    step,
    steps,
    finalLoss: step === saved ? Number.NaN : reportOf(step, steps).loss,
    skipped: 0,
    checkpoint: `iter_${step}`,
    seconds: 1,
    timeToFirstStepSeconds: 1,
    peakGpuBytes: 1,
  };
}

function reportOf(step: number, steps: number): StepReport {
  return {
    step,
    steps,
    epoch: step / steps,
    loss: 10 / step,
    learningRate: 1e-3,
    gradNorm: 1,
    lossScale: 1,
    tokens: 100 * step,
    labelTokens: 50,
    tokensPerSecond: 1000,
    etaSeconds: steps - step,
    skipped: 0,
  };
}

async function newestStep(workDir: Folder): Promise<number> {
  const names = (await workDir.list()).filter((name) => /^iter_\d+$/.test(name));
  return Math.max(0, ...names.map((name) => Number(name.slice("iter_".length))));
}

async function writeCheckpoint(workDir: Folder, step: number): Promise<void> {
  const folder = workDir.folder(`iter_${step}`);
  await folder.write("adapter_config.json", "{}");
  await folder.write("adapter_model.safetensors", new Uint8Array(1000 + step));
  await folder.write("optimizer.safetensors", new Uint8Array(2000));
  await folder.write("state.json", "{}");
  await workDir.write("last_checkpoint", `iter_${step}\n`);
}

/** Says its question back, a letter a piece. */
function fakeChat(fake: FakeEngine): Chat {
  let scale = 1;
  return {
    template: { name: "auto", source: "the model's own" },
    system: "be kind",
    contextTokens: 2048,
    async reply(messages, _sampling, onText, signal) {
      const text = `${scale}:${messages.at(-1)?.content}`;
      let said = "";
      for (const letter of text) {
        await tick();
        await fake.beforePiece(said.length);
        if (signal?.aborted) break;
        said += letter;
        onText?.(letter, { probability: 0.5 });
      }
      const endedBy = said === text ? ("stop" as const) : ("aborted" as const);
      return { text: said, tokens: said.length, promptTokens: 1, endedBy, tokensPerSecond: 1 };
    },
    logits: async () => Float32Array.of(scale, 2, 3),
    setAdapterScale(wanted) {
      scale = wanted;
    },
    close() {
      fake.openChats--;
    },
  };
}

function tick(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1));
}
