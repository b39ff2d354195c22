// The engine's whole public surface, as the page, the command line and the tests see it.
import type { Folder } from "./base/folder.ts";
import type { TrainConfig } from "./config.ts";
import type { FunnelReport } from "./data/funnel.ts";
import { openChat } from "./engine/chat.ts";
import { convertAdapter, convertModel } from "./engine/convert.ts";
import { evaluateData } from "./engine/evaluate-data.ts";
import { exportAdapter, merge } from "./engine/export.ts";
import { quantizeModel } from "./engine/quantize.ts";
import { train } from "./engine/train.ts";
import type { BnbStorage } from "./formats/bnb.ts";
import { type Gpu, type GpuOptions, openGpu } from "./gpu/device.ts";
import type { MemoryEstimate } from "./train/memory.ts";

/** What the engine needs from where it runs. */
export interface Host {
  readonly requestAdapter: () => Promise<GPUAdapter>;
  /** Milliseconds from any fixed point. */
  readonly now: () => number;
  /** SHA-256 as lower-case hex. */
  readonly sha256: (bytes: Uint8Array<ArrayBuffer>) => Promise<string>;
  /** What the adapter could still allocate, where that can be known: WebGPU does not tell. */
  readonly freeGpuBytes?: () => number | undefined;
}

/** One file of training data. */
export interface DataSource {
  /** For messages: the file's name or path. */
  readonly name: string;
  stream(): AsyncIterable<Uint8Array<ArrayBuffer>>;
}

export interface TrainRequest {
  readonly config: TrainConfig;
  readonly model: Folder;
  readonly data: readonly DataSource[];
  readonly workDir: Folder;
  /** Checkpoint folder inside `workDir` ("iter_30"), or "last" for the newest complete one. */
  readonly resume?: string;
  /** Aborting ends the run after the step in progress, with a checkpoint saved. */
  readonly signal?: AbortSignal;
  /** Called in order; never awaited. */
  readonly onEvent: (event: TrainEvent) => void;
}

export type TrainEvent =
  | { readonly type: "phase"; readonly phase: "load" | "data" | "compile" | "train" }
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
    }
  | ({ readonly type: "eval"; readonly step: number } & EvalReport)
  | { readonly type: "checkpoint"; readonly step: number; readonly name: string }
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

export interface StepReport {
  /** 1-based, of `steps`. */
  readonly step: number;
  readonly steps: number;
  readonly epoch: number;
  /** Mean cross-entropy over the step's label tokens, in nats. */
  readonly loss: number;
  readonly learningRate: number;
  /** Before clipping; not finite if the step was skipped. */
  readonly gradNorm: number;
  readonly lossScale: number;
  /** Tokens processed in the run so far, and label tokens of this step. */
  readonly tokens: number;
  readonly labelTokens: number;
  readonly tokensPerSecond: number;
  readonly etaSeconds: number;
  /** Steps skipped so far because their gradient was not finite. */
  readonly skipped: number;
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
  readonly endedBy: "finished" | "stopped";
  readonly step: number;
  readonly steps: number;
  readonly finalLoss: number;
  readonly skipped: number;
  /** Name of the last checkpoint folder in the work directory. */
  readonly checkpoint: string;
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
  /** A template name; default: the adapter's own, else the model's chat template. */
  readonly promptTemplate?: string;
  readonly onProgress?: (bytes: number, totalBytes: number) => void;
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

/** A loaded model that can be talked to. */
export interface Chat {
  /** The template in use and where it came from, with a warning if it is not the one trained with. */
  readonly template: { readonly name: string; readonly source: string; readonly warning?: string };
  /** The system message it was trained with; empty if none. */
  readonly system: string;
  /**
   * Answers the conversation, whose last message is the user's. `onText` gets the answer in pieces of
   * whole characters. Stops at the end-of-turn tokens, a stop word, `maxNewTokens`, the end of the
   * context or an aborted signal.
   */
  reply(
    messages: readonly Message[],
    sampling: SamplingOptions,
    onText?: (text: string) => void,
    signal?: AbortSignal,
  ): Promise<ChatReply>;
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
}

export interface ConvertAdapterRequest {
  /** The InternLM2 model that the adapter is for. */
  readonly model: Folder;
  readonly adapter: Folder;
  readonly output: Folder;
}

export interface ExportSummary {
  readonly files: readonly { readonly name: string; readonly bytes: number }[];
  /** What was compared after writing, in a sentence. */
  readonly check: string;
}

export interface Engine {
  train(request: TrainRequest): Promise<RunSummary>;
  openChat(request: LoadRequest): Promise<Chat>;
  evaluate(request: EvaluateRequest): Promise<EvalReport & { readonly examples: number }>;
  /** A checkpoint's adapter as a PEFT folder of its own, re-read after writing. */
  exportAdapter(checkpoint: Folder, output: Folder): Promise<ExportSummary>;
  merge(request: MergeRequest): Promise<ExportSummary>;
  /** A base as a Hugging Face folder of plain weights. */
  convertModel(request: ConvertRequest): Promise<ExportSummary>;
  /** A plain base as a folder that bitsandbytes and transformers load in 4 bits. */
  quantizeModel(request: QuantizeRequest): Promise<ExportSummary>;
  /** An adapter for InternLM2 as one for the same model in the form of a Llama. */
  convertAdapter(request: ConvertAdapterRequest): Promise<ExportSummary>;
  /** Releases the GPU. */
  close(): void;
}

/** The engine over a host's GPU, which is opened at the first use and opened anew after it was lost. */
export function createEngine(host: Host, options: GpuOptions = {}): Engine {
  let opening: Promise<Gpu> | undefined;
  const open = async (): Promise<Gpu> => {
    const mine = (opening ??= host.requestAdapter().then((adapter) => openGpu(adapter, options)));
    // Another call may have opened a new one meanwhile; that stays.
    const forget = () => {
      if (opening === mine) opening = undefined;
    };
    const gpu = await mine.catch((error: unknown) => {
      forget();
      throw error;
    });
    if (!gpu.isLost) return gpu;
    forget();
    gpu.close();
    return open();
  };
  return {
    train: async (request) => train(await open(), host, request),
    openChat: async (request) => openChat(await open(), host.now, request),
    evaluate: async (request) => evaluateData(await open(), request),
    exportAdapter: (checkpoint, output) => exportAdapter(checkpoint, output),
    merge: async (request) => merge(await open(), request),
    convertModel: (request) => convertModel(request),
    quantizeModel: async (request) => quantizeModel(await open(), request),
    convertAdapter: (request) => convertAdapter(request),
    close() {
      // Nothing waits for a device to be gone, and one that never opened was told to who asked for it.
      opening?.then(
        (gpu) => gpu.close(),
        () => {},
      );
      opening = undefined;
    },
  };
}
