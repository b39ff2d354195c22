// What the page and its two workers say to each other: flat functions over plain, cloneable values.
//
// The engine worker owns the GPU and the runs; the data worker owns models, adapters, data sets and
// downloads. Both keep what they own in the origin's private files. A failure crosses as name and message;
// a UserError's message is two lines, problem and remedy. Callbacks are Comlink proxies.
//
// Past 400 lines, all of them types: whoever adds a call wants to see both sides of the border at once.
import type { TrainConfig } from "../config.ts";
import type { FunnelReport } from "../data/funnel.ts";
import type {
  ChatReply,
  EvalReport,
  KernelTable,
  Message,
  RunPlan,
  RunSummary,
  SamplingOptions,
  StepReport,
  TrainEvent,
} from "../engine.ts";
import type { DataReason } from "../hosts/hub-data-files.ts";
import type { MemoryEstimate } from "../train/memory.ts";

// ---------------------------------------------------------------- engine worker

/** What the adapter offers. */
export interface GpuReport {
  readonly name: string;
  readonly vendor: string;
  readonly architecture: string;
  /** A software adapter, or one that the browser calls a fallback: correct, and slow. */
  readonly isSoftware: boolean;
  readonly hasF16: boolean;
  readonly hasSubgroups: boolean;
  readonly maxBufferBytes: number;
  readonly maxBindingBytes: number;
}

export type Verdict = "fits" | "tight" | "too-big";

/** What a run takes on this GPU, in bytes, counted by laying it out. */
export interface RunEstimate {
  readonly memory: MemoryEstimate;
  /** Against the GPU memory that the person has allowed. */
  readonly verdict: Verdict;
  /** Settings with which it fits, as `lora.r=8` texts, where it does not and there are any. */
  readonly settings: readonly string[];
  /** Why no estimate could be made: one buffer passes the adapter's limits. */
  readonly refusal?: string;
  readonly trainableParameters: number;
  /** Bytes of one checkpoint in the browser's storage. */
  readonly checkpointBytes: number;
}

/** A short measurement: three steps of the real run, thrown away. */
export interface Calibration {
  readonly secondsPerStep: number;
  readonly tokensPerSecond: number;
  readonly steps: number;
  /** Loading, compiling and the run, together. */
  readonly totalSeconds: number;
}

export type RunStatus =
  | "new"
  | "running"
  | "paused"
  | "stopped"
  | "interrupted"
  | "finished"
  | "failed";

/** One run, as kept beside its work directory. */
export interface RunRecord {
  readonly id: string;
  readonly name: string;
  readonly notes: string;
  /** ISO 8601. */
  readonly createdAt: string;
  readonly changedAt: string;
  readonly modelId: string;
  readonly modelName: string;
  readonly dataIds: readonly string[];
  readonly dataName: string;
  readonly config: TrainConfig;
  /** `interrupted`: it says running, and no tab runs it. */
  readonly status: RunStatus;
  readonly step: number;
  readonly steps: number;
  readonly finalLoss: number | null;
  /** The newest complete checkpoint, or null. */
  readonly checkpoint: string | null;
  readonly checkpoints: readonly string[];
  /** Run and checkpoint that it began from, or null. */
  readonly parent: { readonly runId: string; readonly checkpoint: string } | null;
  /** The problem and remedy that ended it. */
  readonly error: string | null;
}

export interface NewRun {
  readonly name: string;
  readonly modelId: string;
  readonly dataIds: readonly string[];
  /** `model`, `data` and `work_dir` are set from the ids. */
  readonly config: TrainConfig;
  /** Begin with the adapter of that checkpoint instead of a fresh one. */
  readonly parent?: { readonly runId: string; readonly checkpoint: string };
}

/** What happened in a run so far, from metrics.jsonl; nothing is thinned out. */
export interface RunHistory {
  readonly steps: readonly StepReport[];
  readonly evals: readonly ({ readonly step: number } & EvalReport)[];
  readonly samples: readonly {
    readonly step: number;
    readonly input: string;
    readonly output: string;
  }[];
}

/** The events of a run, several at a time, at most ten times a second; `status` when it changes. */
export type LiveEvent =
  | TrainEvent
  | { readonly type: "status"; readonly status: RunStatus; readonly step: number }
  /** The GPU was lost and the run goes on from its last checkpoint by itself. */
  | { readonly type: "recovering"; readonly attempt: number; readonly reason: string };

/** Which adapter to put on a model. */
export type AdapterRef =
  | { readonly kind: "run"; readonly runId: string; readonly checkpoint: string }
  | { readonly kind: "imported"; readonly adapterId: string };

export interface OpenChatRequest {
  readonly modelId: string;
  readonly adapter?: AdapterRef;
  readonly quantization: "nf4" | "none";
  /** How what was said is kept on the GPU: see `LoadRequest`. Default: `auto`. */
  readonly kvCache?: "auto" | "f16" | "int8";
  readonly contextTokens: number;
  /** A template's name; default: the adapter's own, else the model's. */
  readonly promptTemplate?: string;
}

export interface ChatInfo {
  readonly template: { readonly name: string; readonly source: string; readonly warning?: string };
  /** The system message it was trained with; empty if none. */
  readonly system: string;
  readonly hasAdapter: boolean;
  readonly contextTokens: number;
}

/** A piece of an answer as it comes. Tokens that make no whole character yet come with the one that does. */
export interface ChatPiece {
  readonly text: string;
  /** Probability that the model gives the last token of the piece, at temperature 1: 0–1. */
  readonly probability: number;
}

export interface ReplyRequest {
  readonly messages: readonly Message[];
  readonly sampling: SamplingOptions;
  /** 0 is the base, 1 the adapter as trained; up to 2. Ignored without an adapter. */
  readonly adapterScale: number;
}

export interface ExportedFile {
  readonly name: string;
  readonly bytes: number;
}

/** A finished export, still in the browser's storage unless it went to a picked folder. */
export interface ExportResult {
  readonly id: string;
  readonly files: readonly ExportedFile[];
  readonly bytes: number;
  /** What was compared after writing, in a sentence. */
  readonly check: string;
}

export interface MergeOptions {
  readonly dtype: "own" | "float32" | "float16" | "bfloat16";
  readonly base: "original" | "nf4";
  readonly maxShardBytes: number;
}

export type Progress = (bytes: number, totalBytes: number) => void;

/** What the page tells both workers before anything else. */
export interface ServiceOptions {
  /** "https://huggingface.co", or the mirror the page is configured for. */
  readonly hubUrl: string;
  /** The folder the page was loaded from, with "/" at the end. */
  readonly pageUrl: string;
}

/** How far the trying of kernel variants is. */
export interface TryingProgress {
  readonly done: number;
  readonly total: number;
  /** The kernel that is tried now; undefined at the end. */
  readonly slot: string | undefined;
  /** How much of that one is done, 0 to 1. */
  readonly share: number;
}

export interface EngineService {
  configure(options: ServiceOptions): Promise<void>;
  /** Opens the GPU once. Throws a UserError where there is none. */
  inspect(): Promise<GpuReport>;
  /** Which variants of kernels were tried on this GPU, and what came of it. */
  kernels(): Promise<KernelTable>;
  /** Tries them now, for a model of one to two billion parameters. Refused while a run is under way. */
  tryKernels(onTrying: (progress: TryingProgress) => void): Promise<KernelTable>;
  /** Ends it before its time: what was found is kept. */
  stopTryingKernels(): Promise<void>;
  /** Allocates in steps until refused or `limitBytes`; returns the bytes granted, all freed again. */
  probeMemory(limitBytes: number): Promise<number>;
  /** Throws away the GPU and everything on it: for tests, and for "start over" after a fault. */
  loseDevice(): Promise<void>;

  estimate(
    modelId: string,
    config: TrainConfig,
    budgetBytes: number,
    holdsOut: boolean,
  ): Promise<RunEstimate>;
  /** Three real steps. Refused while a run is under way. */
  calibrate(modelId: string, dataIds: readonly string[], config: TrainConfig): Promise<Calibration>;

  listRuns(): Promise<readonly RunRecord[]>;
  createRun(run: NewRun): Promise<RunRecord>;
  updateRun(
    id: string,
    change: { readonly name?: string; readonly notes?: string },
  ): Promise<RunRecord>;
  /** Refused for the run under way. */
  deleteRun(id: string): Promise<void>;
  readHistory(id: string): Promise<RunHistory>;
  /** Text of config.yaml, metrics.jsonl or train.log of a run's work directory; "" where there is none yet. */
  readRunFile(id: string, name: "config.yaml" | "metrics.jsonl" | "train.log"): Promise<string>;

  /**
   * Starts a new run, or goes on with an old one from its newest complete checkpoint, exactly. Refused
   * with the other tab's run named where another tab trains. Resolves when the run is finished or stopped;
   * rejects with what made it fail. Its record says so before. After a recovery a "plan" event tells the
   * step it goes on from, and the steps after that one come again.
   */
  startRun(id: string, onEvents: (events: readonly LiveEvent[]) => void): Promise<RunSummary>;
  /** Saves after the step in progress and waits. */
  pauseRun(): Promise<void>;
  resumeRun(): Promise<void>;
  /** Saves after the step in progress and ends `startRun`. */
  stopRun(): Promise<void>;

  /** `onTrying` is called before `onProgress`, where there are kernel variants to try. */
  openChat(
    request: OpenChatRequest,
    onProgress: Progress,
    onTrying?: (progress: TryingProgress) => void,
  ): Promise<ChatInfo>;
  /** One answer at a time; a second call waits for the first. */
  reply(request: ReplyRequest, onPiece: (piece: ChatPiece) => void): Promise<ChatReply>;
  stopReply(): Promise<void>;
  /** Frees the model. Closing what is not open does nothing. */
  closeChat(): Promise<void>;
  /**
   * Logits of the answer's first token, one per token of the vocabulary, with the adapter as trained: what
   * shows that the same files give the same numbers elsewhere. Opens the model as `openChat` does.
   */
  firstLogits(request: OpenChatRequest, messages: readonly Message[]): Promise<Float32Array>;

  exportAdapter(runId: string, checkpoint: string): Promise<ExportResult>;
  /**
   * Into the browser's storage, or straight into `target`, a folder that the person picked. Meanwhile no run
   * can be started or resumed.
   */
  exportMerged(
    runId: string,
    checkpoint: string,
    options: MergeOptions,
    target: FileSystemDirectoryHandle | undefined,
    onProgress: Progress,
  ): Promise<ExportResult>;
  /**
   * One ZIP of an export, read back and its checksums compared; a File backed by disk. One that is there
   * already is given again.
   */
  zipExport(exportId: string, zipName: string): Promise<File>;
  /** One file of an export. */
  exportedFile(exportId: string, name: string): Promise<File>;
  /** Of an export whose files were handed out the storage is freed later: the browser may still save them. */
  deleteExport(exportId: string): Promise<void>;
  /** Ends the exports and archives under way, which reject with an AbortedError and leave nothing behind. */
  cancelExport(): Promise<void>;
}

// ---------------------------------------------------------------- data worker

export interface StorageReport {
  readonly usedBytes: number;
  /** What the browser allows this origin in all. */
  readonly quotaBytes: number;
  readonly isPersistent: boolean;
  /** False in some private windows: nothing can be kept. */
  readonly hasOpfs: boolean;
}

export type ModelOrigin =
  | { readonly kind: "embedded" }
  | { readonly kind: "local" }
  | {
      readonly kind: "hub";
      readonly repo: string;
      readonly revision: string;
      readonly commit: string;
    };

/** A base model, or an adapter, in the browser's storage. */
export interface StoredModel {
  readonly id: string;
  readonly kind: "model" | "adapter";
  /** What people call it: the repo's or folder's name. */
  readonly name: string;
  readonly origin: ModelOrigin;
  readonly bytes: number;
  readonly addedAt: string;
  readonly usedAt: string;
  /** Absent while the download is not complete. */
  readonly facts?: ModelFacts;
  /** Bytes that are there already of one that is not complete. */
  readonly partialBytes?: number;
  /** For an adapter: base_model_name_or_path of its config. */
  readonly baseModel?: string;
}

export interface ModelFacts {
  readonly family: string;
  readonly parameters: number;
  readonly layers: number;
  readonly contextTokens: number;
  readonly vocab: number;
  readonly hasChatTemplate: boolean;
  /** "bf16", "f32", "nf4", "Q4_1" …, as in the files. */
  readonly storedAs: string;
}

/** A repo of the hub as far as it is known before the download. */
export interface HubModel {
  readonly repo: string;
  readonly revision: string;
  readonly commit: string;
  readonly kind: "model" | "adapter";
  readonly files: readonly {
    readonly name: string;
    readonly bytes: number;
    readonly sha256?: string;
  }[];
  readonly totalBytes: number;
  /** Bytes of these files that a broken download left here. */
  readonly partialBytes: number;
  readonly facts?: ModelFacts;
  /** Estimate id: pass it to EngineService.estimate as `modelId` to know whether it fits before downloading. */
  readonly estimateId: string;
  readonly baseModel?: string;
  /** Set where the repo cannot be used, with the reason and what to do. */
  readonly refusal?: string;
}

export interface LocalFile {
  /** Path inside the picked folder with "/"; the name alone for single files. */
  readonly path: string;
  readonly file: File;
}

export interface DataIssue {
  /** Row of the file, from 1; 0 for the whole file. */
  readonly row: number;
  readonly line: number;
  /** Rows that are `broken` or of the wrong `format` are left out of training; the others are not. */
  readonly kind: "broken" | "empty" | "duplicate" | "format";
  readonly message: string;
  /** The first row that is the same. */
  readonly duplicateOf?: number;
}

/** A data set in the browser's storage: the file as it came, or rows written here. */
export interface StoredData {
  readonly id: string;
  readonly name: string;
  readonly bytes: number;
  readonly addedAt: string;
  readonly rows: number;
  /** The detected format's name, or null where a mapping is needed. */
  readonly format: string | null;
  /** Why that format: the end of a sentence. */
  readonly reason: string;
  /** Keys of the first rows, for the mapper. */
  readonly columns: readonly string[];
  readonly mapping: ColumnMapping | null;
  readonly issueCount: number;
  readonly duplicates: number;
  readonly empty: number;
  /** Left out, as they are not JSON or not of the format. */
  readonly broken: number;
}

/** A split of a data set of the hub, as far as it is known before the download. */
export interface HubData {
  /** Of its download; "" where it is refused. */
  readonly id: string;
  readonly repo: string;
  readonly revision: string;
  readonly commit: string;
  /** How to ask for exactly the same again. */
  readonly reference: string;
  readonly split: string;
  /** Where the repo has several. */
  readonly config?: string;
  /** How the files were found. */
  readonly reason: DataReason;
  readonly files: readonly { readonly name: string; readonly bytes: number }[];
  readonly totalBytes: number;
  /** Bytes of these files that a broken download left here. */
  readonly partialBytes: number;
  /** Set where it cannot be used, with the reason and what to do. */
  readonly refusal?: string;
}

/** A download of data that was begun and is not complete. */
export interface DataDownload {
  readonly id: string;
  readonly name: string;
  readonly totalBytes: number;
  readonly partialBytes: number;
}

/** Which column is which part of a single exchange. */
export interface ColumnMapping {
  readonly system?: string;
  readonly input: string;
  readonly output: string;
}

/** A message of a row: also what a tool gave back. */
export interface ShownMessage {
  readonly role: Message["role"] | "tool";
  readonly content: string;
}

/** A row for the table: its number, line and conversation, or the fault that keeps it out. */
export interface TableRow {
  readonly row: number;
  /** Long texts are cut here. */
  readonly messages: readonly ShownMessage[];
  readonly issue?: string;
  /** Columns and their texts, where no mapping says yet what they are. */
  readonly fields?: readonly (readonly [column: string, text: string])[];
}

export interface PreviewToken {
  readonly id: number;
  /** What it adds to the text; a character of several tokens comes with its last one, "" with the others. */
  readonly text: string;
  readonly isTrained: boolean;
}

/** One row as the model will see it. */
export interface DataExample {
  /** The whole text. */
  readonly rendered: string;
  /** As many as a training row holds. */
  readonly tokens: readonly PreviewToken[];
  /** Of the whole text. */
  readonly tokenCount: number;
  readonly isCut: boolean;
}

/** Data as the model will see it: the example of the row asked for, and what becomes of all rows. */
export interface DataPreview extends DataExample {
  readonly funnel: FunnelReport;
}

/** A config that was read, with what its reader should know. */
export interface ReadConfig {
  readonly config: TrainConfig;
  readonly notes: readonly { readonly severity: "warning" | "info"; readonly text: string }[];
}

/** A ready-made config by name. */
export interface ConfigChoice {
  readonly name: string;
  readonly about: string;
}

export interface DataService {
  configure(options: ServiceOptions): Promise<void>;
  storage(): Promise<StorageReport>;
  /** Asks the browser to keep the origin's files. */
  persist(): Promise<boolean>;

  listModels(): Promise<readonly StoredModel[]>;
  /** The model that comes with the page; copied into storage at the first call. */
  addEmbedded(onProgress: Progress): Promise<StoredModel>;
  /** Copies a model (or adapter) folder's files, or one GGUF file; refused files leave nothing behind. */
  addLocal(name: string, files: readonly LocalFile[], onProgress: Progress): Promise<StoredModel>;
  /**
   * What `text` names on the hub: org/name, org/name@revision, hf:// or any pasted hub URL; or a direct URL of
   * an adapter's folder. Also the id of a download that was begun: the commit and the folder of it.
   */
  resolveHub(text: string): Promise<HubModel>;
  /** Downloads what is missing, verified; goes on where it stopped. Aborted by `cancelDownload`, which keeps what came. */
  download(model: HubModel, onProgress: Progress): Promise<StoredModel>;
  cancelDownload(repo: string): Promise<void>;
  deleteModel(id: string): Promise<void>;

  listData(): Promise<readonly StoredData[]>;
  /** JSON, JSONL or CSV. Resolves when the file is stored and read through once. */
  importFile(file: File, onProgress: Progress): Promise<StoredData>;
  /** Ends the imports under way, which leave nothing behind. */
  cancelImport(): Promise<void>;
  /** What `text` names on the hub, and which of its files are the split; or the id of a download that was begun. */
  resolveHubData(text: string, split: string): Promise<HubData>;
  /** Downloads what is missing, verified, and takes the rows in. Aborted by `cancelDataDownload`, which keeps what came. */
  downloadData(data: HubData, onProgress: Progress): Promise<StoredData>;
  cancelDataDownload(id: string): Promise<void>;
  /** Those that were begun and are not complete. */
  listDataDownloads(): Promise<readonly DataDownload[]>;
  deleteDataDownload(id: string): Promise<void>;
  /** A config of XTuner, a .py file. Throws a UserError that tells every line against it. */
  readXtuner(text: string, place: string): Promise<ReadConfig>;
  /** The first of the ready-made configs with these words in their names. */
  findReadyConfigs(pattern: string): Promise<readonly ConfigChoice[]>;
  readReadyConfig(name: string): Promise<ReadConfig>;
  importText(name: string, text: string): Promise<StoredData>;
  /** One of the samples that come with the page. */
  importSample(name: SampleName): Promise<StoredData>;
  /** Rows written by hand. */
  importRows(name: string, rows: readonly (readonly Message[])[]): Promise<StoredData>;
  /** The tutorial's identity data set for an assistant of that owner. */
  importIdentity(owner: string, assistant: string, language: "en" | "zh"): Promise<StoredData>;
  mapColumns(id: string, mapping: ColumnMapping): Promise<StoredData>;
  renameData(id: string, name: string): Promise<StoredData>;
  deleteData(id: string): Promise<void>;
  /** Rows [start, start + count) for the table, from 0. */
  rows(id: string, start: number, count: number): Promise<readonly TableRow[]>;
  issues(id: string, start: number, count: number): Promise<readonly DataIssue[]>;
  /** The data set's rows in a file that the command line reads too. */
  dataFile(id: string): Promise<File>;
  /** Encodes one row: quick, however many there are. `row` is counted from 0 through all data sets. */
  example(
    ids: readonly string[],
    modelId: string,
    config: TrainConfig,
    row: number,
  ): Promise<DataExample>;
  /** What becomes of all rows, as training reports it. A newer question ends an older one. */
  funnel(ids: readonly string[], modelId: string, config: TrainConfig): Promise<FunnelReport>;
  /** Both. `row` is the one shown, from 0. */
  preview(
    ids: readonly string[],
    modelId: string,
    config: TrainConfig,
    row: number,
  ): Promise<DataPreview>;
}

export type SampleName = "identity-en" | "identity-zh" | "colors";

// ---------------------------------------------------------------- both

export type {
  ChatReply,
  EvalReport,
  FunnelReport,
  KernelTable,
  Message,
  RunPlan,
  RunSummary,
  SamplingOptions,
  StepReport,
  TrainConfig,
  TrainEvent,
};
