// Data files to packed rows: read → map → template → encode → drop → split → pack.
// Nothing is lost silently: a funnel report counts every row that goes in and why each one stops.

import { UserError } from "../base/error.ts";
import { formatCount } from "../base/format.ts";
import { createRandom } from "../base/random.ts";
import type { ChatTemplate } from "../formats/chat-template.ts";
import type { Tokenizer } from "../formats/tokenizer.ts";
import type { Conversation } from "./conversation.ts";
import { encodeByChatTemplate, encodeExample } from "./encode.ts";
import type { EncodedExample } from "./encode.ts";
import { detectFormat, mapRow } from "./formats.ts";
import type { DatasetFormatName, DetectedFormat } from "./formats.ts";
import { nothingLeft } from "./funnel.ts";
import type { EncodeFunnel, FunnelReport } from "./funnel.ts";
import { memoize } from "./memo.ts";
import { Packer, rowOf } from "./pack.ts";
import type { PackedRow } from "./pack.ts";
import { readRows } from "./read.ts";
import type { DataRow, TextChunks } from "./read.ts";
import type { PromptTemplate } from "./template-table.ts";
import { applyTemplate } from "./templates.ts";

/** One file of data. */
export interface DataFile {
  /** For errors and the report: the file's name or path. */
  readonly name: string;
  /** The whole file, in pieces of any size, as UTF-8 or as text. */
  stream(): TextChunks;
}

export interface EncodeDatasetOptions {
  tokenizer: Tokenizer;
  /** One of the named templates, or the model's own. */
  template: PromptTemplate | ChatTemplate;
  /** Longest example, in tokens, and the length of a packed row. */
  maxLength: number;
  /** Shown before conversations that have no system message of their own. */
  system?: string | undefined;
  /** Found from each file's first rows where it is not given. */
  format?: DatasetFormatName | undefined;
  /** What a row that is not JSON does: ends the read (the default), or is left out and counted. */
  brokenRows?: "refuse" | "drop";
}

export interface DatasetOptions extends EncodeDatasetOptions {
  /** Fill rows with many examples, or give each example its own row. */
  pack: boolean;
  seed: number;
  /** Shuffle examples before packing. Default true. */
  shuffle?: boolean;
  /** Examples set aside for evaluation: below 1 a fraction, from 1 a count. Default 0. */
  evalSplit?: number;
}

export interface EncodedDataset {
  /** In the order of the files. Equal conversations share one object. */
  examples: EncodedExample[];
  funnel: EncodeFunnel;
}

export interface Dataset {
  train: PackedRow[];
  evaluation: PackedRow[];
  report: FunnelReport;
}

/** Rows looked at to find the format. */
const DETECTION_ROWS = 20;
const MEMO_ENTRIES = 4096;

/** Streams of chance, so that the split and the order do not follow from each other. */
const SPLIT_STREAM = 0x5b117;
const PACK_STREAM = 0x9ac4;

/** The whole way from files to rows. Refuses files from which nothing can be learned. */
export async function buildDataset(
  files: readonly DataFile[],
  options: DatasetOptions,
): Promise<Dataset> {
  return packDataset(await encodeDataset(files, options), options);
}

/** Encoded examples to rows: what is set aside, then what is packed. */
export function packDataset(
  encoded: EncodedDataset,
  options: Omit<DatasetOptions, keyof EncodeDatasetOptions> & Pick<DatasetOptions, "maxLength">,
): Dataset {
  const { examples, funnel } = encoded;
  const parts = splitExamples(examples, options);
  const allRows = makeRows(parts.train, options);
  const train = allRows.filter(isLearned);
  const evaluation = makeRows(parts.evaluation, { ...options, shuffle: false }).filter(isLearned);
  if (train.length === 0) throw nothingLeft(funnel);
  const report: FunnelReport = {
    ...funnel,
    packed: options.pack,
    trainExamples: parts.train.length,
    evaluationExamples: parts.evaluation.length,
    trainRows: train.length,
    evaluationRows: evaluation.length,
    droppedRows: allRows.length - train.length,
    trainTokens: train.reduce((sum, row) => sum + row.inputIds.length, 0),
  };
  return { train, evaluation, report };
}

/** Reads, maps and encodes, without packing: to look at data as the model will see it. */
export async function encodeDataset(
  files: readonly DataFile[],
  options: EncodeDatasetOptions,
): Promise<EncodedDataset> {
  const intake = createIntake(options);
  for (const file of files) await intakeFile(file, intake, options);
  const dataset = intake.finish();
  if (dataset.examples.length === 0) throw nothingLeft(dataset.funnel);
  return dataset;
}

async function intakeFile(
  file: DataFile,
  intake: Intake,
  options: EncodeDatasetOptions,
): Promise<void> {
  const { name } = file;
  const known = options.format;
  let detected: DetectedFormat | undefined =
    known === undefined ? undefined : { format: known, reason: "the configuration says so" };

  const waiting: DataRow[] = []; // for the format to be found
  const settle = () => {
    detected ??= detectFormat(waiting, name);
    for (const row of waiting.splice(0)) intake.take(row, detected.format, name);
  };
  const onBrokenRow = options.brokenRows === "drop" ? intake.noteBroken : undefined;
  for await (const row of readRows(file.stream(), { place: name, onBrokenRow })) {
    waiting.push(row);
    if (detected !== undefined || waiting.length >= DETECTION_ROWS) settle();
  }
  if (waiting.length > 0) settle();
  intake.noteFile(name, detected);
}

type Intake = ReturnType<typeof createIntake>;

/** Encodes rows one by one and counts what becomes of them. */
function createIntake(options: EncodeDatasetOptions) {
  const encode = createEncoder(options);
  const examples: EncodedExample[] = [];
  const funnel: EncodeFunnel = {
    files: [],
    rowsRead: 0,
    droppedBroken: 0,
    droppedEmpty: 0,
    droppedUnlabeled: 0,
    maxLength: options.maxLength,
    kept: 0,
    truncated: 0,
    endless: 0,
    tokens: 0,
    labelTokens: 0,
  };
  const keep = (example: EncodedExample) => {
    examples.push(example);
    funnel.kept++;
    funnel.tokens += example.inputIds.length;
    funnel.labelTokens += example.labelTokens;
    if (example.truncated) funnel.truncated++;
    if (!example.eosSupervised) funnel.endless++;
  };
  return {
    take(row: DataRow, format: DatasetFormatName, place: string): void {
      funnel.rowsRead++;
      const conversation = mapRow(format, row, place);
      const example = conversation.length === 0 ? undefined : encode(conversation);
      if (example === undefined) funnel.droppedEmpty++;
      else if (example.labelTokens === 0) funnel.droppedUnlabeled++;
      else keep(example);
    },
    noteBroken: (fault: UserError): void => {
      funnel.rowsRead++;
      funnel.droppedBroken++;
      funnel.firstBroken ??= fault.message;
    },
    noteFile(name: string, detected: DetectedFormat | undefined): void {
      funnel.files.push({ name, ...(detected ?? { reason: "every row is broken" }) });
    },
    finish: (): EncodedDataset => ({ examples, funnel }),
  };
}

function withSystem(conversation: Conversation, system: string): Conversation {
  const [first, ...rest] = conversation;
  if (system === "" || !first || conversation.some((turn) => (turn.system ?? "") !== "")) {
    return conversation;
  }
  return [{ ...first, system }, ...rest];
}

/** Conversations to examples as `options` say, to look at single ones too. */
export function createEncoder(
  options: EncodeDatasetOptions,
): (conversation: Conversation) => EncodedExample {
  const { template, maxLength, system = "" } = options;
  // System texts and separators repeat even where whole conversations do not.
  const encodeText = memoize(MEMO_ENTRIES, (text) => options.tokenizer.encode(text));
  const tokenizer = { ...options.tokenizer, encode: (text: string) => [...encodeText(text)] };
  const encode = (conversation: Conversation) =>
    "render" in template
      ? encodeByChatTemplate(conversation, tokenizer, template, { maxLength })
      : encodeExample(applyTemplate(conversation, template), tokenizer, { maxLength });
  const encodeKey = memoize(MEMO_ENTRIES, (key) => encode(JSON.parse(key) as Conversation));
  return (conversation) => encodeKey(JSON.stringify(withSystem(conversation, system)));
}

/** Sets examples aside by a seeded draw; both parts keep the order of the files. */
export function splitExamples<T>(
  examples: readonly T[],
  options: Pick<DatasetOptions, "seed" | "evalSplit">,
): { train: T[]; evaluation: T[] } {
  const { evalSplit = 0, seed } = options;
  const wanted = evalSplit < 1 ? Math.ceil(evalSplit * examples.length) : evalSplit;
  if (wanted >= examples.length) {
    throw new UserError(
      `eval_split ${evalSplit} takes ${formatCount(wanted)} of the ${formatCount(examples.length)} examples, so none are left to train on.`,
      "Lower eval_split, or give evaluation a file of its own.",
    );
  }
  const order = createRandom(seed, SPLIT_STREAM).shuffle([...examples.keys()]);
  const chosen = new Set(order.slice(0, wanted));
  return {
    train: examples.filter((_, i) => !chosen.has(i)),
    evaluation: examples.filter((_, i) => chosen.has(i)),
  };
}

function makeRows(
  examples: readonly EncodedExample[],
  options: Pick<DatasetOptions, "pack" | "maxLength" | "seed" | "shuffle">,
): PackedRow[] {
  if (!options.pack) return examples.map(rowOf);
  const { seed, shuffle = true } = options;
  const ordered = shuffle ? createRandom(seed, PACK_STREAM).shuffle(examples) : examples;
  const packer = new Packer({ rowTokens: options.maxLength });
  return [...packer.push(ordered), ...packer.flush()];
}

/** A row with nothing to learn would cost a step and teach nothing. */
function isLearned({ labels, segmentStarts }: PackedRow): boolean {
  // The first token of a document is never predicted.
  const starts = new Set(segmentStarts);
  return labels.some((label, i) => label >= 0 && !starts.has(i));
}
