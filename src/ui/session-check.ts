// What this browser and its GPU offer, and how much GPU memory the person allows.
import { createSignal } from "solid-js";
import { messageOf } from "../base/error.ts";
import type { GpuReport, KernelTable, StorageReport, TryingProgress } from "../services/api.ts";
import { guessBudgetBytes } from "./model-sizes.ts";
import type { SliceContext } from "./session.ts";
import { readSetting, writeSetting } from "./settings.ts";
import {
  type BrowserSays,
  isPhone,
  lookForSupport,
  recognizeVisitor,
  type Support,
  type Visitor,
} from "./support.ts";
import { callback } from "./workers.ts";

export interface CheckSlice {
  /** Undefined while it is looked at, or where there is none. */
  readonly gpu: () => GpuReport | undefined;
  /** Which kernel variants were tried here; undefined until it is known. */
  readonly kernels: () => KernelTable | undefined;
  /** Tries them for a model of one to two billion parameters. */
  tryKernels(): Promise<void>;
  /** Ends that before its time. */
  stopTryingKernels(): Promise<void>;
  readonly isTryingKernels: () => boolean;
  /** How far it is; undefined until it begins. */
  readonly tryingProgress: () => TryingProgress | undefined;
  /** Why nothing can run here: the two lines of an error. */
  readonly problem: () => string | undefined;
  /** What the page itself was given; undefined while it is looked at. */
  readonly support: () => Support | undefined;
  readonly visitor: Visitor;
  readonly storage: () => StorageReport | undefined;
  /** Bytes of GPU memory that a run may take; a guess until the person changes or measures it. */
  readonly budgetBytes: () => number;
  readonly isBudgetGuessed: () => boolean;
  setBudgetBytes(bytes: number): void;
  /** Takes GPU memory until there is no more, and makes what it got the budget. */
  measure(): Promise<void>;
  readonly isMeasuring: () => boolean;
  /** Asks the browser to keep the files; false where it does not say yes. */
  persist(): Promise<boolean>;
  /** Looks at the GPU and the storage. */
  start(): Promise<void>;
  refreshStorage(): Promise<void>;
  /** A run may have tried some since. */
  refreshKernels(): Promise<void>;
  /** The embedded model, a sample in the person's language and the quick recipe, ready on Review. */
  trySample(): Promise<void>;
  readonly isPreparingSample: () => boolean;
}

const GIB = 2 ** 30;
// No card that a browser drives has more, and asking on would only take longer.
const MOST_MEASURED_BYTES = 64 * GIB;
// What a run takes beside its buffers, and what other programs take meanwhile.
const USABLE_SHARE = 0.9;
const LEAST_BUDGET_BYTES = 2 ** 26;

export function createCheckSlice(context: SliceContext): CheckSlice {
  const { app, workers } = context;
  const visitor = recognizeVisitor(browserSays());
  const [gpu, setGpu] = createSignal<GpuReport>();
  const [kernels, setKernels] = createSignal<KernelTable>();
  const [isTryingKernels, setIsTryingKernels] = createSignal(false);
  const [tryingProgress, setTryingProgress] = createSignal<TryingProgress>();
  const [fault, setFault] = createSignal<string>();
  const [support, setSupport] = createSignal<Support>();
  const [storage, setStorage] = createSignal<StorageReport>();
  const [ownBudget, setOwnBudget] = createSignal(readSetting("budgetBytes", readBudget));
  const [isMeasuring, setIsMeasuring] = createSignal(false);
  const [isPreparingSample, setIsPreparingSample] = createSignal(false);

  const guess = () =>
    guessBudgetBytes({
      deviceMemoryGib: deviceMemoryGib(),
      isPhone: isPhone(visitor),
      // Until the adapter is known, it is taken for one that is not the least.
      maxBufferBytes: gpu()?.maxBufferBytes ?? 2 ** 31,
    });
  const setBudgetBytes = (bytes: number) => {
    if (!(bytes >= LEAST_BUDGET_BYTES)) return;
    setOwnBudget(bytes);
    writeSetting("budgetBytes", bytes);
  };
  const refreshStorage = async () => {
    setStorage(await workers.data.storage());
  };
  const inspect = async () => {
    setFault(undefined);
    setSupport(
      await lookForSupport({
        isSecure: isSecureContext,
        gpu: navigator.gpu, // absent where the types promise it
      }),
    );
    if (support() !== "ok") return;
    try {
      setGpu(await workers.engine.inspect());
    } catch (error) {
      setFault(messageOf(error)); // the page has an adapter, and the worker cannot use it
    }
  };
  const refreshKernels = async () => {
    if (gpu()) setKernels(await workers.engine.kernels());
  };
  const problem = () => {
    const found = support();
    if (found === undefined || found === "ok") return fault();
    const words = app.text().plan.check.support;
    return `${words.problem[found](location.host)}\n${words.remedy(found, visitor)}`;
  };

  return {
    gpu,
    kernels,
    isTryingKernels,
    tryingProgress,
    async tryKernels() {
      setTryingProgress(undefined);
      setIsTryingKernels(true);
      await app.attempt(async () => {
        await workers.engine.tryKernels(callback((progress) => void setTryingProgress(progress)));
        await refreshKernels();
      });
      setIsTryingKernels(false);
    },
    async stopTryingKernels() {
      await app.attempt(() => workers.engine.stopTryingKernels());
    },
    problem,
    support,
    visitor,
    storage,
    budgetBytes: () => ownBudget() ?? guess(),
    isBudgetGuessed: () => ownBudget() === undefined,
    setBudgetBytes,
    isMeasuring,
    async measure() {
      setIsMeasuring(true);
      await app.attempt(async () => {
        // Software adapters and phones would take it from everything else that runs.
        const isShared = gpu()?.isSoftware === true || isPhone(visitor);
        const limitBytes = isShared ? guess() : MOST_MEASURED_BYTES;
        setBudgetBytes((await workers.engine.probeMemory(limitBytes)) * USABLE_SHARE);
      });
      setIsMeasuring(false);
    },
    async persist() {
      const isKept = (await app.attempt(() => navigator.storage.persist())) ?? false;
      await app.attempt(refreshStorage);
      return isKept;
    },
    async start() {
      await Promise.all([inspect(), app.attempt(refreshStorage)]);
      await app.attempt(refreshKernels);
    },
    refreshStorage,
    refreshKernels,
    isPreparingSample,
    async trySample() {
      if (isPreparingSample()) return;
      setIsPreparingSample(true);
      await app.attempt(() => prepareSample(context));
      setIsPreparingSample(false);
    },
  };
}

async function prepareSample({ app, session }: SliceContext): Promise<void> {
  const { models, data, recipe } = session();
  const [model, sample] = await Promise.all([
    models.ensureEmbedded(),
    data.ensureSample(app.language() === "zh" ? "identity-zh" : "identity-en"),
  ]);
  models.select(model.id);
  data.select([sample.id]);
  recipe.begin("quick");
  app.go("review");
}

function readBudget(kept: unknown): number | undefined {
  return typeof kept === "number" && kept >= LEAST_BUDGET_BYTES ? kept : undefined;
}

/** What not every browser has, and no types know. */
type Hints = Navigator & {
  readonly deviceMemory?: number;
  readonly userAgentData?: {
    readonly brands: readonly { readonly brand: string }[];
    readonly platform: string;
  };
};

function deviceMemoryGib(): number | undefined {
  return (navigator as Hints).deviceMemory;
}

function browserSays(): BrowserSays {
  const { userAgent, userAgentData, maxTouchPoints } = navigator as Hints;
  return {
    userAgent,
    brands: userAgentData?.brands,
    platform: userAgentData?.platform,
    maxTouchPoints,
  };
}
