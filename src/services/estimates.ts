// What a run will take, before it starts: memory by counting, time by three steps of it.
import { messageOf } from "../base/error.ts";
import type { TrainConfig } from "../config.ts";
import type { FunnelReport } from "../data/funnel.ts";
import type { Engine } from "../engine.ts";
import { TooLargeError } from "../gpu/device.ts";
import { openOpfs } from "../hosts/opfs.ts";
import type { MemoryEstimate } from "../train/memory.ts";
import { planSteps } from "../train/plan.ts";
import type { Calibration, RunEstimate, Verdict } from "./api.ts";
import { SCRATCH_LOCK, takeLock, withData, withLock, withModel } from "./locks.ts";
import { dataSources, modelFolder } from "./storage.ts";

/** More of the budget than this is tight: drivers and browsers take some too. */
const EASY_SHARE = 0.85;

const CALIBRATION_STEPS = 3;
/** Only one measurement at a time writes there. */
const SCRATCH = "scratch";

export async function estimateRun(
  engine: Engine,
  modelId: string,
  config: TrainConfig,
  { budgetBytes, holdsOut }: { readonly budgetBytes: number; readonly holdsOut: boolean },
): Promise<RunEstimate> {
  try {
    const model = await modelFolder(modelId);
    const size = await engine.estimate({ model, config, holdsOut, limitBytes: budgetBytes });
    return { ...size, verdict: verdictOf(size.memory.total, budgetBytes) };
  } catch (error) {
    if (!(error instanceof TooLargeError)) throw error;
    return {
      memory: UNKNOWN,
      verdict: "too-big",
      settings: [],
      refusal: messageOf(error),
      trainableParameters: 0,
      checkpointBytes: 0,
    };
  }
}

function verdictOf(totalBytes: number, budgetBytes: number): Verdict {
  if (totalBytes > budgetBytes) return "too-big";
  return totalBytes > EASY_SHARE * budgetBytes ? "tight" : "fits";
}

/** Trains three steps into a folder that is thrown away. The GPU must be free. */
export async function calibrateRun(
  engine: Engine,
  modelId: string,
  dataIds: readonly string[],
  config: TrainConfig,
): Promise<Calibration> {
  return withLock(SCRATCH_LOCK, async () => {
    const root = await openOpfs();
    await root.remove(SCRATCH);
    try {
      const train = async () => {
        const model = await modelFolder(modelId);
        const data = await dataSources(dataIds);
        const workDir = root.folder(SCRATCH);
        return measure(config, (short, onEvent) =>
          engine.train({ config: short, model, data, workDir, onEvent }),
        );
      };
      return await withModel(modelId, () => withData(dataIds, train));
    } finally {
      await root.remove(SCRATCH).catch(() => {}); // it goes at the next start
    }
  });
}

/** Removes what a measurement left that was cut off. */
export async function cleanScratch(): Promise<void> {
  const release = await takeLock(SCRATCH_LOCK, { ifAvailable: true });
  try {
    if (release) await (await openOpfs()).remove(SCRATCH);
  } finally {
    release?.();
  }
}

type Train = (
  config: TrainConfig,
  onEvent: Parameters<Engine["train"]>[0]["onEvent"],
) => Promise<unknown>;

async function measure(config: TrainConfig, train: Train): Promise<Calibration> {
  const started = performance.now();
  const reports: { readonly atMs: number; readonly tokens: number }[] = [];
  let steps = 0;
  await train(shortened(config), (event) => {
    if (event.type === "data") {
      const rows = trainRows(config, event.rows, event.funnel);
      ({ steps } = planSteps(config, Math.ceil(rows / config.batch_size)));
    }
    if (event.type === "step") reports.push({ atMs: performance.now(), tokens: event.tokens });
  });
  // The first report comes with all that is done once: loading, compiling, the first use of everything.
  const [first = { atMs: started, tokens: 0 }] = reports;
  const last = reports.at(-1) ?? first;
  const secondsPerStep = (last.atMs - first.atMs) / 1000 / Math.max(1, reports.length - 1);
  return {
    secondsPerStep,
    tokensPerSecond: (last.tokens - first.tokens) / Math.max(1e-3, (last.atMs - first.atMs) / 1000),
    steps,
    totalSeconds: (first.atMs - started) / 1000 + secondsPerStep * Math.max(0, steps - 1),
  };
}

/** The run's own steps, and nothing beside them. */
function shortened(config: TrainConfig): TrainConfig {
  return {
    ...config,
    max_steps: CALIBRATION_STEPS,
    save_steps: CALIBRATION_STEPS,
    eval_split: 0,
    evaluation_freq: 0,
    evaluation_inputs: [],
    // XTuner's schedule fails on a warm-up of so few iterations.
    ...(config.compat === "none" ? {} : { warmup_ratio: 0 }),
    load_from: "",
  };
}

/** Rows left to train on when some examples are held out; of packed rows, their share of them. */
function trainRows(config: TrainConfig, rows: number, { kept }: FunnelReport): number {
  const heldOut = Math.ceil(config.eval_split * kept);
  const left = config.pack_to_max_length ? rows * (1 - heldOut / kept) : rows - heldOut;
  return Math.max(1, Math.ceil(left));
}

const UNKNOWN: MemoryEstimate = {
  total: 0,
  byKind: {
    weights: 0,
    adapter: 0,
    optimizer: 0,
    activations: 0,
    lossChunk: 0,
    kvCache: 0,
    staging: 0,
    other: 0,
  },
};
