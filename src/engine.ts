// The engine's calls and all their types, as the page, the command line and the tests see it. Past 400 lines, since
// it is to be read in one place; it holds types and one table of calls, and no logic.
import type { Folder } from "./base/folder.ts";
import type { TrainConfig } from "./config.ts";
import type { FunnelReport } from "./data/funnel.ts";
import type { MmluScores } from "./data/mmlu-score.ts";
import { inspectAdapter, probeMemory } from "./engine/adapter-inspection.ts";
import { askChoices } from "./engine/answers/ask-choices.ts";
import { openChat } from "./engine/answers/chat.ts";
import { convertAdapter, convertModel } from "./engine/exports/convert.ts";
import { dryRun } from "./engine/runs/dry-run.ts";
import { estimateRun } from "./engine/runs/estimate.ts";
import { evaluateData } from "./engine/answers/evaluate-data.ts";
import { exportAdapter, merge } from "./engine/exports/export.ts";
import { createOpener, onGpu } from "./engine/opener.ts";
import { convertCheckpoint, readCheckpointConfig } from "./engine/exports/pickled-checkpoint.ts";
import { quantizeModel } from "./engine/exports/quantize.ts";
import { splitModel } from "./engine/exports/split.ts";
import { train } from "./engine/runs/train.ts";
import type { SlotTrial } from "./engine/tuning/try-variants.ts";
import { type OnTrying, type Trying, type TuneMode, Tuner } from "./engine/tuning/tune.ts";
import { tellKernels } from "./engine/tuning/work-sizes.ts";
import type { BnbStorage } from "./formats/bnb.ts";
import type { Gpu, GpuOptions } from "./gpu/device.ts";
import type { TrialSizes } from "./kernels/tunable.ts";
import type { MemoryEstimate } from "./train/memory.ts";

/** Bytes that an adapter could still allocate, as far as that can be known. */
export interface FreeMemory {
  readonly least: number;
  readonly most: number;
}

/** What the engine needs from where it runs. */
export interface Host {
  readonly requestAdapter: () => Promise<GPUAdapter>;
  /** Milliseconds from any fixed point. */
  readonly now: () => number;
  /** The time of day, for logs; the system's own if not given. */
  readonly clock?: () => Date;
  /** SHA-256 as lower-case hex. */
  readonly sha256: (bytes: Uint8Array<ArrayBuffer>) => Promise<string>;
  /** What the adapter could still allocate, where that can be known: WebGPU does not tell. */
  readonly freeGpuBytes?: () => FreeMemory | undefined;
  /** A folder for what can be found again by trying; without it, it is found again at every start. */
  readonly cache?: () => Promise<Folder>;
}

/** One file of training data. */
export interface DataSource {
  /** For messages: the file's name or path. */
  readonly name: string;
  stream(): AsyncIterable<Uint8Array<ArrayBuffer>>;
  /** Its size, and bytes [start, end) of it: Parquet is read from its end. Without them it is held whole. */
  readonly bytes?: number;
  readonly read?: (start: number, end: number) => Promise<Uint8Array<ArrayBuffer>>;
}

/** A base model as others find it too: a repo of the hub, at a revision other than its main one if that is given. */
export interface BaseModel {
  readonly name: string;
  readonly revision?: string;
}

export interface TrainRequest {
  readonly config: TrainConfig;
  readonly model: Folder;
  /** What adapters name as their base; by default `config.model` as it stands. */
  readonly base?: BaseModel;
  readonly data: readonly DataSource[];
  readonly workDir: Folder;
  /**
   * The config file as the person wrote it, by its name. Under compat a `.py` file is kept in the work
   * directory, as XTuner does.
   */
  readonly source?: { readonly name: string; readonly text: string };
  /** The adapter that `config.load_from` names: a PEFT folder to begin with. Not read on resume. */
  readonly loadFrom?: Folder;
  /**
   * Checkpoint folder inside `workDir` ("iter_30"), or "last" for the newest complete one, or "last-or-new":
   * that one, and from the beginning where there is none. Without it a folder with checkpoints in it is
   * refused.
   */
  readonly resume?: string;
  /**
   * Aborting ends the run after the step in progress, with a checkpoint saved. While there is nothing to
   * save, that is before the loop or before the first step, it throws an AbortedError.
   */
  readonly signal?: AbortSignal;
  readonly pausing?: Pausing;
  /** Called in order; never awaited. */
  readonly onEvent: (event: TrainEvent) => void;
}

/** Asked between steps. A paused run has saved, and holds its memory. */
export interface Pausing {
  readonly isPaused: () => boolean;
  /** Resolves when it is to go on; called only while it is paused. */
  readonly resumed: () => Promise<void>;
}

export type TrainEvent =
  | { readonly type: "phase"; readonly phase: "data" | "tune" | "load" | "compile" | "train" }
  /** Kernels whose variants have been tried, of those that are to be. */
  | ({ readonly type: "tuning"; readonly done: number; readonly total: number } & Trying)
  | { readonly type: "loading"; readonly bytes: number; readonly totalBytes: number }
  | {
      readonly type: "data";
      readonly funnel: FunnelReport;
      readonly rows: number;
      readonly evalRows: number;
    }
  | { readonly type: "plan"; readonly plan: RunPlan }
  | ({ readonly type: "step" } & StepReport)
  | {
      readonly type: "sample";
      readonly step: number;
      readonly input: string;
      readonly output: string;
      /** Under compat: prompt and answer as the model saw and wrote them, special tokens included. */
      readonly sequence?: string;
    }
  /** Under compat: a line of XTuner's log, as mmengine prints it. */
  | {
      readonly type: "log";
      readonly level: "INFO" | "WARNING";
      readonly message: string;
      readonly line: string;
    }
  | ({ readonly type: "eval"; readonly step: number } & EvalReport)
  | { readonly type: "checkpoint"; readonly step: number; readonly name: string }
  /** Waiting, after `step` steps, which are saved (but for 0). */
  | { readonly type: "paused"; readonly step: number }
  | { readonly type: "resumed"; readonly step: number }
  | { readonly type: "warning"; readonly message: string };

/** What is known before the first step. */
export interface RunPlan {
  readonly adapterName: string;
  readonly computeDtype: "f32" | "f16";
  /** Optimizer steps in the whole run, and the first one to be done (0 unless resumed). */
  readonly steps: number;
  readonly firstStep: number;
  readonly trainableParameters: number;
  readonly dispatchesPerMicroBatch: number;
  readonly memory: MemoryEstimate;
}

/** What a run would be, as far as it is known before the GPU is taken. */
export interface Forecast {
  readonly adapterName: string;
  readonly computeDtype: "f32" | "f16";
  /** What `steps` counts: optimizer steps, or under compat iterations. */
  readonly unit: "step" | "iteration";
  readonly steps: number;
  /** The first one to be done: 0 unless resumed. */
  readonly firstStep: number;
  readonly batchesPerEpoch: number;
  /** Learning rates, and the step, from 1, that first has the largest. */
  readonly schedule: {
    readonly first: number;
    readonly peak: number;
    readonly peakStep: number;
    readonly last: number;
  };
  readonly memory: MemoryEstimate;
  /** Whether blocks, or parts of them, are computed twice to save memory. */
  readonly checkpointing: boolean;
  readonly trainableParameters: number;
  /** One checkpoint, all files of it. */
  readonly checkpointBytes: number;
}

export interface StepReport {
  /** 1-based, of `steps`. */
  readonly step: number;
  readonly steps: number;
  readonly epoch: number;
  /** Mean cross-entropy over the step's label tokens, in nats. */
  readonly loss: number;
  readonly learningRate: number;
  /** Of the last optimizer step, before clipping; not finite if that was skipped, or there was none yet. */
  readonly gradNorm: number;
  readonly lossScale: number;
  /** Tokens processed in the run so far, and label tokens of this step. */
  readonly tokens: number;
  readonly labelTokens: number;
  readonly tokensPerSecond: number;
  readonly etaSeconds: number;
  /** Steps skipped so far because their gradient was not finite. */
  readonly skipped: number;
  /** Under `compat: xtuner-0.1.17`, where each step is an iteration over one micro-batch. */
  readonly iteration?: {
    /** Whether the optimizer stepped after it. */
    readonly updated: boolean;
    /** What making the batch took. */
    readonly dataSeconds: number;
  };
}

export interface EvalReport {
  /** Mean over label tokens, in nats; perplexity is its exponential. */
  readonly loss: number;
  readonly perplexity: number;
  /** Share of label tokens that the model ranks first. */
  readonly tokenAccuracy: number;
  readonly labelTokens: number;
}

export interface RunSummary {
  /** Stopped: by the signal, before the last step or in the evaluation after it. */
  readonly endedBy: "finished" | "stopped";
  readonly step: number;
  readonly steps: number;
  readonly finalLoss: number;
  readonly skipped: number;
  /** Name of the last checkpoint folder in the work directory. */
  readonly checkpoint: string;
  /** Of the loop, without pauses. */
  readonly seconds: number;
  readonly timeToFirstStepSeconds: number;
  readonly peakGpuBytes: number;
}

export interface LoadRequest {
  readonly model: Folder;
  readonly adapter?: Folder;
  /** nf4 as in training, or none: the weights as they are in the file. */
  readonly quantization?: "nf4" | "none";
  readonly computeDtype?: "auto" | "f32" | "f16";
  /** Longest conversation in tokens, prompt and answer together. */
  readonly contextTokens?: number;
  /** How keys and values of earlier tokens are kept; auto: as activations are. int8 has a scale for each head. */
  readonly kvCache?: "auto" | "f16" | "int8";
  /** A template name; default: the adapter's own, else the model's chat template. */
  readonly promptTemplate?: string;
  /** Whether a system message will be said: a template without a place for one is refused. */
  readonly hasSystem?: boolean;
  readonly onProgress?: (bytes: number, totalBytes: number) => void;
  /** Kernels whose variants have been tried, before the model is loaded; not called where there are none to try. */
  readonly onTrying?: OnTrying;
  /** Aborting frees what was allocated and throws an AbortedError; nothing once it is loaded. */
  readonly signal?: AbortSignal;
}

export interface SamplingOptions {
  readonly maxNewTokens: number;
  /** 0 is greedy. */
  readonly temperature: number;
  /** 0 is off. */
  readonly topK: number;
  /** 1 is off. */
  readonly topP: number;
  readonly repetitionPenalty: number;
  readonly seed: number;
  readonly stopWords: readonly string[];
}

export interface Message {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
}

/** What is known of a piece of an answer. */
export interface PieceInfo {
  /**
   * Probability of the piece's last token by the model alone, 0–1: whatever temperature and filters it was
   * drawn with.
   */
  readonly probability: number;
}

/** A loaded model that can be talked to. One call at a time. */
export interface Chat {
  /** The template in use and where it came from, with a warning if it is not the one trained with. */
  readonly template: { readonly name: string; readonly source: string; readonly warning?: string };
  /** The system message it was trained with; empty if none. */
  readonly system: string;
  /** Tokens that a conversation may have, its answers included. */
  readonly contextTokens: number;
  /**
   * Answers the conversation, whose last message is the user's. `onText` gets the answer in pieces of
   * whole characters, a token each where a token ends with one. Stops at the end-of-turn tokens, a stop
   * word, `maxNewTokens`, the end of the context or an aborted signal.
   */
  reply(
    messages: readonly Message[],
    sampling: SamplingOptions,
    onText?: (text: string, info: PieceInfo) => void,
    signal?: AbortSignal,
  ): Promise<ChatReply>;
  /** Logits of the first token of the answer, one per token of the vocabulary. The same at every call. */
  logits(messages: readonly Message[]): Promise<Float32Array<ArrayBuffer>>;
  /**
   * How much of the adapter acts from the next call on, 0–2: 0 is the base, 1 as trained. Uploads nothing.
   * Without an adapter it does nothing.
   */
  setAdapterScale(scale: number): void;
  close(): void;
}

export interface ChatReply {
  readonly text: string;
  readonly tokens: number;
  readonly promptTokens: number;
  readonly endedBy: "stop" | "length" | "aborted";
  readonly tokensPerSecond: number;
}

export interface EvaluateRequest extends LoadRequest {
  readonly data: readonly DataSource[];
  readonly datasetFormat: string;
  readonly maxLength: number;
  readonly system?: string;
  /** Called for every example in order. */
  readonly onExample?: (example: { readonly row: number } & EvalReport) => void;
}

/** Multiple-choice questions as XTuner's MMLU test has them. */
export interface ChoicesRequest extends LoadRequest {
  /** Files of rows with `input`, `output` (A, B, C or D) and `subject`. */
  readonly data: readonly DataSource[];
  /** Longest prompt in tokens; the rest is cut off on the right. */
  readonly maxLength: number;
  readonly system?: string;
  readonly onAnswer?: (answer: ChoiceAnswer) => void;
}

/** The `row`-th question of `rows`, from 1 through all files, and the letters given and right. */
export interface ChoiceAnswer {
  readonly row: number;
  readonly rows: number;
  readonly subject: string;
  readonly predicted: string;
  readonly answer: string;
  /** Whether its end was cut off, so that the answer means little. */
  readonly isCut: boolean;
}

export interface ChoicesReport extends MmluScores {
  /** Questions whose end was cut off. */
  readonly cut: number;
}

export interface MergeRequest {
  readonly model: Folder;
  readonly adapter: Folder;
  readonly output: Folder;
  /** Default: the base's own type, tensor by tensor. */
  readonly dtype?: "float32" | "float16" | "bfloat16";
  /** Base to add the adapter to: the weights in the file (as XTuner does), or what training saw. */
  readonly base?: "original" | "nf4";
  readonly maxShardBytes?: number;
  readonly onProgress?: (bytes: number, totalBytes: number) => void;
  /** Aborting throws an AbortedError; files that were complete stay in `output`. */
  readonly signal?: AbortSignal;
}

export interface ConvertRequest {
  /** Any base that can be trained: a Hugging Face folder, bitsandbytes' 4 bits, a GGUF file. */
  readonly model: Folder;
  readonly output: Folder;
  /** The model's own names, or, for InternLM2, those of a Llama. */
  readonly form: "own" | "llama";
  /** Default: as the weights are read, tensor by tensor. */
  readonly dtype?: MergeRequest["dtype"];
  readonly maxShardBytes?: number;
  readonly onProgress?: (bytes: number, totalBytes: number) => void;
  /** As of a MergeRequest. */
  readonly signal?: AbortSignal;
}

export interface QuantizeRequest {
  /** A model with plain weights. */
  readonly model: Folder;
  readonly output: Folder;
  /** Keep the scales in 8 bits, as bnb_4bit_use_double_quant does. True, if not given. */
  readonly doubleQuant?: boolean;
  /** The type that packed codes are stored in, as bnb_4bit_quant_storage: uint8, if not given. */
  readonly quantStorage?: BnbStorage;
  readonly maxShardBytes?: number;
  /** Counts what is read and quantized first, then what is written. */
  readonly onProgress?: ((bytes: number, totalBytes: number) => void) | undefined;
  /** As of a MergeRequest. */
  readonly signal?: AbortSignal;
}

export interface ConvertAdapterRequest {
  /** The InternLM2 model that the adapter is for. */
  readonly model: Folder;
  readonly adapter: Folder;
  readonly output: Folder;
}

/** A checkpoint that XTuner wrote, to become an adapter. */
export interface ConvertCheckpointRequest {
  readonly folder: Folder;
  /** In `folder`: iter_N.pth, a file, or the folder of that name that DeepSpeed writes. */
  readonly name: string;
  readonly output: Folder;
  /** The run's, which says α, dropout, base and prompt template. */
  readonly config?: TrainConfig;
  /** What the adapter names as its base; by default `config.model` as it stands. */
  readonly base?: BaseModel;
  /** Instead of the config's; one of the two must be known. */
  readonly alpha?: number;
  readonly dropout?: number;
  /** Whether the matrices stay in f32; XTuner writes f16. */
  readonly isFloat32?: boolean;
  /** The base, where it is at hand: its config.json tells whether a module is missing. */
  readonly model?: Folder;
}

export interface AdapterExportOptions {
  /** The run's, which must be the one that the checkpoint is of. */
  readonly config?: TrainConfig;
  /** Type to write the matrices in; the checkpoint's own, if not given. */
  readonly dtype?: "F16" | "F32";
}

export interface ExportSummary {
  readonly files: readonly { readonly name: string; readonly bytes: number }[];
  /** What was compared after writing, in a sentence. */
  readonly check: string;
}

/** What the adapter offers, as the engine has opened it. */
export interface AdapterInspection {
  readonly name: string;
  readonly vendor: string;
  readonly architecture: string;
  /** Whether the browser calls it one: software, or a GPU in its stead. */
  readonly isFallback: boolean;
  readonly hasF16: boolean;
  readonly hasSubgroups: boolean;
  readonly maxBufferBytes: number;
  readonly maxBindingBytes: number;
}

/** Which variants of kernels were tried on an adapter, and what came of each. */
export interface KernelTable {
  readonly adapterName: string;
  /** Names the kernels of this build. */
  readonly kernels: string;
  /** Why nothing is tried here, if so: it was turned off, or the adapter is software. */
  readonly why: "off" | "software" | undefined;
  /** The kernels that have variants on this adapter; of each, all are checked against the first. */
  readonly slots: readonly {
    readonly slot: string;
    readonly names: readonly string[];
    /** What is used on this adapter where nothing was tried, which need not be one of them. */
    readonly untried: string;
  }[];
  /** What is known, for the sizes of each model that it was tried for. */
  readonly tried: readonly {
    readonly sizes: TrialSizes;
    readonly slots: readonly SlotTrial[];
    /** Kernels whose trying was begun and not ended, and of which nothing is known. */
    readonly unended: readonly string[];
  }[];
}

export interface KernelsRequest {
  /** The sizes to try for; default: those of a model of one to two billion parameters. */
  readonly sizes?: TrialSizes;
  /** Try them all now, whatever is known; default: only tell. */
  readonly tune?: TuneMode;
  readonly onTrying?: OnTrying;
  readonly signal?: AbortSignal;
}

export interface EstimateRequest {
  /** Of its files only the small ones and the heads of the weights are read. */
  readonly model: Folder;
  readonly config: TrainConfig;
  /** Whether there will be rows to take a held-out loss on. */
  readonly holdsOut: boolean;
  /** The most that the run may take of the GPU; default: no limit. */
  readonly limitBytes?: number;
}

export interface RunSize {
  readonly memory: MemoryEstimate;
  readonly trainableParameters: number;
  /** One checkpoint, all files of it. */
  readonly checkpointBytes: number;
  /** "lora.r=8": with all of these it fits `limitBytes`. None where it fits as it is, or with no settings. */
  readonly settings: readonly string[];
}

export interface Engine {
  /** Opens the GPU if it is not open yet. */
  inspect(): Promise<AdapterInspection>;
  /** What was found by trying the variants of kernels on this adapter, or is found now. */
  kernels(request?: KernelsRequest): Promise<KernelTable>;
  /** Counts what a run takes without running it. Throws a TooLargeError where one buffer passes a limit. */
  estimate(request: EstimateRequest): Promise<RunSize>;
  /** Allocates on a device of its own until refused or `limitBytes`; returns the bytes granted, freed again. */
  probeMemory(limitBytes: number): Promise<number>;
  /** Destroys the device as a driver's reset would: work under way fails, and the next opens it anew. */
  loseDevice(): Promise<void>;
  train(request: TrainRequest): Promise<RunSummary>;
  /** All of `train` that comes before the GPU is taken: the same events and refusals; nothing is written. */
  dryRun(request: TrainRequest): Promise<Forecast>;
  openChat(request: LoadRequest): Promise<Chat>;
  evaluate(request: EvaluateRequest): Promise<EvalReport & { readonly examples: number }>;
  /** Puts questions and compares the logits of the letters behind each: one pass, nothing is generated. */
  askChoices(request: ChoicesRequest): Promise<ChoicesReport>;
  /** A checkpoint's adapter as a PEFT folder of its own, re-read after writing. */
  exportAdapter(
    checkpoint: Folder,
    output: Folder,
    options?: AdapterExportOptions,
  ): Promise<ExportSummary>;
  merge(request: MergeRequest): Promise<ExportSummary>;
  /** A base as a Hugging Face folder of plain weights. */
  convertModel(request: ConvertRequest): Promise<ExportSummary>;
  /** A plain base as a folder that bitsandbytes and transformers load in 4 bits. */
  quantizeModel(request: QuantizeRequest): Promise<ExportSummary>;
  /** An adapter for InternLM2 as one for the same model in the form of a Llama. */
  convertAdapter(request: ConvertAdapterRequest): Promise<ExportSummary>;
  /** The config's text that a checkpoint of XTuner carries, if it does. */
  readCheckpointConfig(folder: Folder, name: string): Promise<string | undefined>;
  /** A checkpoint of XTuner as an adapter. */
  convertCheckpoint(request: ConvertCheckpointRequest): Promise<ExportSummary>;
  /** Every tensor in a file of its own, as XTuner's split has it. */
  splitModel(model: Folder, output: Folder): Promise<ExportSummary>;
  /** Releases the GPU. */
  close(): void;
}

export interface EngineOptions extends GpuOptions {
  /** Whether the variants of kernels are tried before work; `quick`, if not given. */
  readonly tune?: TuneMode;
}

/** The engine over a host's GPU, which is opened at the first use and opened anew after it was lost. */
export function createEngine(host: Host, { tune: mode, ...options }: EngineOptions = {}): Engine {
  const opener = createOpener(host, options);
  const tuner = new Tuner(host, { ...(mode && { mode }), gpu: options });
  const open = async (): Promise<Gpu> => (await opener.open()).gpu;
  return {
    async inspect() {
      const { gpu, adapter } = await opener.open();
      return inspectAdapter(gpu, adapter);
    },
    estimate: async (request) => estimateRun(await open(), request),
    probeMemory: (limitBytes) => probeMemory(host, options, limitBytes),
    loseDevice: () => opener.lose(),
    kernels: async (request) => tellKernels(await open(), tuner, request),
    train: (request) => onGpu(opener, (gpu) => train(gpu, host, request, tuner)),
    dryRun: async (request) => dryRun(await open(), host, request),
    openChat: (request) => onGpu(opener, (gpu) => openChat(gpu, host.now, request, tuner)),
    evaluate: (request) => onGpu(opener, (gpu) => evaluateData(gpu, request, tuner)),
    askChoices: (request) => onGpu(opener, (gpu) => askChoices(gpu, request, tuner)),
    exportAdapter: (checkpoint, output, asked) => exportAdapter(checkpoint, output, asked),
    merge: async (request) => merge(await open(), request),
    convertModel: (request) => convertModel(request),
    quantizeModel: async (request) => quantizeModel(await open(), request),
    convertAdapter: (request) => convertAdapter(request),
    readCheckpointConfig: (folder, name) => readCheckpointConfig(folder, name),
    convertCheckpoint: (request) => convertCheckpoint(request),
    splitModel: (model, output) => splitModel(model, output),
    close: () => opener.close(),
  };
}
