// The engine as the page knows it: everything of `EngineService`, put together from its parts.
import { UserError } from "../base/error.ts";
import { createEngine, type AdapterInspection, type Engine } from "../engine.ts";
import { browserHost } from "../hosts/browser.ts";
import type { OnTrying } from "../engine/tuning/tune.ts";
import type {
  EngineService,
  GpuReport,
  KernelTable,
  NewRun,
  RunRecord,
  TryingProgress,
} from "./api.ts";
import { broadcast } from "./broadcast.ts";
import { ChatService } from "./chat-service.ts";
import { calibrateRun, cleanScratch, estimateRun } from "./estimates.ts";
import { ExportService } from "./export-service.ts";
import { isAborted } from "./faults.ts";
import { toPage } from "./page-callback.ts";
import { RunControl } from "./run-control.ts";
import {
  changeRun,
  checkpointFolder,
  cleanRuns,
  createRun,
  listRecords,
  readHistory,
  removeRun,
  startFolder,
  workFolder,
} from "./run-store.ts";
import { configureStorage, kernelFolder } from "./storage.ts";

/** A flat, frozen object: through Comlink the page can reach whatever hangs on it. */
export function createEngineService(
  engine: Engine = createEngine({ ...browserHost(), cache: kernelFolder }),
): Readonly<EngineService> {
  const chat = new ChatService(engine, () => control.refuseBusy());
  const control = new RunControl(engine, () => chat.close());
  const exports = new ExportService(engine);
  let trying = new AbortController();
  return Object.freeze<EngineService>({
    async configure({ hubUrl }) {
      configureStorage({ hubUrl });
      // In nobody's way: what cannot be removed now is removed at another start.
      void Promise.allSettled([cleanRuns(), exports.clean(), cleanScratch()]);
    },
    inspect: async () => reportGpu(await engine.inspect()),
    kernels: () => engine.kernels(),
    tryKernels: (onTrying) => {
      const { signal } = (trying = new AbortController());
      return control.measure(() => tryKernels(engine, toPage(onTrying), signal));
    },
    async stopTryingKernels() {
      trying.abort();
    },
    probeMemory: (limitBytes) => control.measure(() => engine.probeMemory(limitBytes)),
    loseDevice: () => engine.loseDevice(),

    estimate: (modelId, config, budgetBytes, holdsOut) =>
      estimateRun(engine, modelId, config, { budgetBytes, holdsOut }),
    calibrate: (modelId, dataIds, config) =>
      control.measure(() => calibrateRun(engine, modelId, dataIds, config)),

    async listRuns() {
      const { live } = control;
      await live?.written;
      const records = await listRecords();
      return records.map((record) =>
        record.id === live?.id ? withProgress(record, live) : record,
      );
    },
    createRun: (run) => createRun(run, (folder) => copyParent(engine, run, startFolder(folder))),
    async updateRun(id, { name, notes }) {
      const change = { ...(name !== undefined && { name }), ...(notes !== undefined && { notes }) };
      const record = await changeRun(id, change);
      broadcast({ type: "changed", what: "runs" });
      return record;
    },
    deleteRun: removeRun,
    readHistory,
    async readRunFile(id, name) {
      if (!RUN_FILES.has(name)) {
        throw new UserError(
          `${name} is no file of a run.`,
          `Ask for ${[...RUN_FILES].join(", ")}.`,
        );
      }
      const work = await workFolder(id);
      return (await work.size(name)) === undefined ? "" : work.readText(name);
    },

    startRun: (id, onEvents) => control.start(id, onEvents),
    pauseRun: () => control.pause(),
    resumeRun: () => control.resume(),
    stopRun: () => control.stop(),

    openChat: (request, onProgress, onTrying = () => {}) =>
      chat.open(request, {
        onProgress: toPage(onProgress),
        onTrying: tellTrying(toPage(onTrying)),
      }),
    reply: (request, onPiece) => chat.reply(request, toPage(onPiece)),
    async stopReply() {
      chat.stop();
    },
    closeChat: () => chat.close(),
    firstLogits: (request, messages) => chat.firstLogits(request, messages),

    exportAdapter: (runId, checkpoint) => exports.adapter({ runId, checkpoint }),
    exportMerged: (runId, checkpoint, options, target, onProgress) =>
      control.merge(() =>
        exports.merged({ runId, checkpoint }, options, target, toPage(onProgress)),
      ),
    zipExport: (id, name) => exports.zip(id, name),
    exportedFile: (id, name) => exports.file(id, name),
    deleteExport: (id) => exports.delete(id),
    cancelExport: () => exports.cancel(),
  });
}

/** Stopped, it tells what is known by then. */
async function tryKernels(
  engine: Engine,
  tell: (progress: TryingProgress) => void,
  signal: AbortSignal,
): Promise<KernelTable> {
  try {
    return await engine.kernels({ tune: "quick", onTrying: tellTrying(tell), signal });
  } catch (error) {
    if (!isAborted(error)) throw error;
    return engine.kernels();
  }
}

function tellTrying(tell: (progress: TryingProgress) => void): OnTrying {
  return (done, total, { slot, share = 0 }) => tell({ done, total, slot, share });
}

const RUN_FILES: ReadonlySet<string> = new Set(["config.yaml", "metrics.jsonl", "train.log"]);

/** Software that draws or computes in the stead of a GPU; only some browsers call it a fallback. */
const SOFTWARE = /swiftshader|llvmpipe|lavapipe|basic render|software/i;

function reportGpu({ isFallback, ...inspection }: AdapterInspection): GpuReport {
  const words = `${inspection.name} ${inspection.vendor} ${inspection.architecture}`;
  return { ...inspection, isSoftware: isFallback || SOFTWARE.test(words) };
}

/** A record is written at checkpoints; the run itself knows better. */
function withProgress(record: RunRecord, live: NonNullable<RunControl["live"]>): RunRecord {
  const { status, step, steps } = live;
  return { ...record, status, step, steps };
}

async function copyParent(
  engine: Engine,
  { parent }: NewRun,
  output: ReturnType<typeof startFolder>,
): Promise<void> {
  if (!parent) return;
  await engine.exportAdapter(await checkpointFolder(parent.runId, parent.checkpoint), output);
}
