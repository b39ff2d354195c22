// Data files to packed rows: read → map → template → encode → drop → split → pack.
// Nothing is lost silently: a funnel report counts every row that goes in and why each one stops.
import { UserError } from "../base/error.ts";
import { formatCount } from "../base/format.ts";
import { createRandom } from "../base/random.ts";
import type { ChatTemplate } from "../formats/chat-template.ts";
import { isJsonObject } from "../formats/json.ts";
import type { Tokenizer } from "../formats/tokenizer.ts";
import type { Conversation } from "./conversation.ts";
import {
  encodeByChatTemplate,
  type EncodedExample,
  encodeExample,
  type ExampleList,
} from "./encode.ts";
import {
  type DatasetFormatName,
  type DetectedFormat,
  type FieldNames,
  isPlainText,
} from "./formats.ts";
import { type FunnelReport, nothingLeft } from "./funnel.ts";
import { createIntake, type EncodedDataset, type Intake } from "./intake.ts";
import { textColumn } from "./map-conversations.ts";
import { type MappedRow, type MapRowsOptions, readMappedRows } from "./mapped-rows.ts";
import { type PackedRow, packSpans, type RowList, rowOf, selectRows, tokensOf } from "./pack.ts";
import { createTextEncoder } from "./plain-text.ts";
import type { DataFile } from "./read-data.ts";
import type { PromptTemplate } from "./template-table.ts";
import { applyTemplate } from "./templates.ts";
import { packAsXtuner } from "./xtuner-pack.ts";

export interface EncodeDatasetOptions {
  tokenizer: Tokenizer;
  /** One of the named templates, or the model's own. */
  template: PromptTemplate | ChatTemplate;
  /** Longest example, in tokens. */
  maxLength: number;
  /** Shown before conversations that have no system message of their own. */
  system?: string | undefined;
  /** Found from each file's first rows where it is not given: one for all files, or one for each. */
  format?: DatasetFormatName | readonly (DatasetFormatName | undefined)[] | undefined;
  /** What columns and fields of messages are called, where they are not found by themselves. */
  fields?: FieldNames | undefined;
  /** Map rows as XTuner 0.1.17 does and nothing beyond it, with a template around plain text. Default false. */
  mapAsXtuner?: boolean;
  /** What a row that cannot be read does: ends the read (the default), or is left out and counted. */
  brokenRows?: "refuse" | "drop";
  /** So many rows, drawn by the seed, where there are more. Their order stays that of the files. */
  maxRows?: number | undefined;
  /** Of the draw; default 0. */
  seed?: number;
  /** False leaves the answers out, for asking questions instead of teaching answers. Default true. */
  inputIdsWithOutput?: boolean;
  /** False cuts long texts for pre-training at `maxLength` instead of continuing them over rows. Default true. */
  continueTexts?: boolean;
}

export interface PackOptions {
  /** Length of a packed row, in tokens. */
  maxLength: number;
  /** Fill rows with many examples, or give each example its own row. */
  pack: boolean;
  seed: number;
  /** Shuffle examples before packing. Default true. */
  shuffleBeforePack?: boolean;
  /** Pack in 32 parts whose tails are lost, and keep rows that teach nothing, as XTuner does. Default false. */
  asXtuner?: boolean;
  /** Examples set aside for evaluation: below 1 a fraction, from 1 a count. Default 0. */
  evalSplit?: number;
}

export interface Dataset {
  /** Built when asked for. */
  train: RowList;
  evaluation: RowList;
  report: FunnelReport;
}

/** Streams of chance, so that the split and the order do not follow from each other. */
const SPLIT_STREAM = 0x5b117;
const PACK_STREAM = 0x9ac4;

/** The whole way from files to rows. Refuses files from which nothing can be learned. */
export async function buildDataset(
  files: readonly DataFile[],
  options: EncodeDatasetOptions & PackOptions,
): Promise<Dataset> {
  return packDataset(await encodeDataset(files, options), options);
}

/** Files to encoded examples. Refuses files of which nothing is left. */
export async function encodeDataset(
  files: readonly DataFile[],
  options: EncodeDatasetOptions,
): Promise<EncodedDataset> {
  const { maxLength, tokenizer } = options;
  const intake = createIntake({
    maxLength,
    maxRows: options.maxRows,
    seed: options.seed ?? 0,
    keepsUnlabeled: options.inputIdsWithOutput === false,
    encode: createEncoder(options),
    encodeText: createTextEncoder(tokenizer, maxLength),
  });
  for (const [i, file] of files.entries()) await intakeFile(file, i, intake, options);
  const dataset = intake.finish();
  if (dataset.examples.length === 0) throw nothingLeft(dataset.funnel);
  return dataset;
}

async function intakeFile(
  file: DataFile,
  index: number,
  intake: Intake,
  options: EncodeDatasetOptions,
): Promise<void> {
  const { name } = file;
  let detected: DetectedFormat | undefined;
  const onBrokenRow = options.brokenRows === "drop" ? intake.noteBroken : undefined;
  const rows = readMappedRows(file, { ...mapOptionsOf(options, index), onBrokenRow });
  for await (const row of rows) {
    detected = row.detected;
    try {
      const isDrawn = takeRow(row, intake, options);
      const doubt = isDrawn ? row.warning() : undefined;
      if (doubt !== undefined) intake.noteDoubt(doubt);
    } catch (error) {
      const fault = withPlace(error, row.place);
      if (onBrokenRow === undefined || !(fault instanceof UserError)) throw fault;
      intake.endText();
      onBrokenRow(fault);
    }
  }
  // Its last row may say that it goes on; the next file is another text all the same.
  intake.endText();
  intake.noteFile({ name, ...(detected ?? { reason: "every row is broken" }) });
}

/** Text for pre-training goes on over examples, and a file of text over rows. Says whether the row is drawn. */
function takeRow(
  { row, detected, map }: MappedRow,
  intake: Intake,
  options: EncodeDatasetOptions,
): boolean {
  if (options.continueTexts === false || !isPlainText(detected.format)) return intake.take(map);
  const value = row.value as Readonly<Record<string, unknown>>;
  const continues = isJsonObject(value) && value["continues"] === true;
  const isPiece = continues || intake.isInText();
  return intake.takeText(() => {
    const [turn] = map();
    // Formats may strip a text, but not what lies between its pieces.
    const text = isPiece ? value[textColumn(value) ?? "text"] : turn?.output;
    return typeof text === "string" ? text : "";
  }, continues);
}

/** A fault that a row shows only when it is encoded, with the row. */
export function withPlace(error: unknown, place: string): unknown {
  if (error instanceof RangeError) {
    return new UserError(`${place}: it is nested too deep.`, "Correct that row.", { cause: error });
  }
  if (!(error instanceof UserError) || error.message.startsWith(place)) return error;
  const [problem = "", ...remedy] = error.message.split("\n");
  return new UserError(`${place}: ${problem}`, remedy.join("\n"), { cause: error });
}

/** What the options say about the rows of the file at `index`. */
export function mapOptionsOf(
  { format, fields, mapAsXtuner }: EncodeDatasetOptions,
  index: number,
): MapRowsOptions {
  const known = typeof format === "object" ? format[index] : format;
  return { format: known, fields, asXtuner: mapAsXtuner };
}

/** A conversation as it is encoded: with the system message of the options, where it has none. */
export function withSystem(conversation: Conversation, system: string): Conversation {
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
  const { tokenizer, template, maxLength, system = "", inputIdsWithOutput = true } = options;
  const how = { maxLength, inputIdsWithOutput };
  return (row) => {
    const conversation = withSystem(row, system);
    return "render" in template
      ? encodeByChatTemplate(conversation, tokenizer, template, how)
      : encodeExample(applyTemplate(conversation, template), tokenizer, how);
  };
}

/** Encoded examples to rows: what is set aside, then what is packed. Refuses those from which nothing can be learned. */
export function packDataset({ examples, funnel }: EncodedDataset, options: PackOptions): Dataset {
  const parts = splitExamples(examples.length, options);
  const packed = makeTrainRows(examples, parts.train, options);
  const train = options.asXtuner === true ? packed : learnedRows(packed.rows);
  const evaluation = learnedRows(makeRows(examples, parts.evaluation, options));
  if (train.length === 0) throw nothingLeft(funnel);
  const report: FunnelReport = {
    ...funnel,
    packed: options.pack,
    trainExamples: parts.train.length,
    evaluationExamples: parts.evaluation.length,
    trainRows: train.length,
    evaluationRows: evaluation.length,
    droppedRows: packed.length - train.length,
    lostTokens: packed.lostTokens,
    trainTokens: train.tokens,
  };
  return { train: train.rows, evaluation: evaluation.rows, report };
}

/** Sets examples aside by a seeded draw; gives indices, both parts in the order of the files. */
export function splitExamples(
  count: number,
  options: Pick<PackOptions, "seed" | "evalSplit">,
): { train: number[]; evaluation: number[] } {
  const { evalSplit = 0, seed } = options;
  const wanted = evalSplit < 1 ? Math.ceil(evalSplit * count) : evalSplit;
  if (wanted >= count) {
    throw new UserError(
      `eval_split ${evalSplit} takes ${formatCount(wanted)} of the ${formatCount(count)} examples, so none are left to train on.`,
      "Lower eval_split, or give evaluation a file of its own.",
    );
  }
  const all = [...Array(count).keys()];
  if (wanted === 0) return { train: all, evaluation: [] };
  const chosen = new Set(createRandom(seed, SPLIT_STREAM).shuffle(all).slice(0, wanted));
  return {
    train: all.filter((i) => !chosen.has(i)),
    evaluation: all.filter((i) => chosen.has(i)),
  };
}

function makeTrainRows(
  examples: ExampleList,
  train: readonly number[],
  options: PackOptions,
): CountedRows & { lostTokens: number } {
  const { maxLength, pack, seed, shuffleBeforePack = true } = options;
  const isShuffled = pack && shuffleBeforePack;
  const order = isShuffled ? createRandom(seed, PACK_STREAM).shuffle(train) : train;
  if (pack && options.asXtuner === true) {
    const rows = packAsXtuner(examples, { maxLength, order });
    const { length, tokens, lostTokens } = rows;
    return { rows, length, tokens, lostTokens };
  }
  const rows = makeRows(examples, order, options);
  const tokens = train.reduce((sum, index) => sum + tokensOf(examples, index), 0);
  return { rows, length: rows.length, tokens, lostTokens: 0 };
}

interface CountedRows {
  readonly rows: RowList;
  readonly length: number;
  readonly tokens: number;
}

function makeRows(
  examples: ExampleList,
  order: readonly number[],
  { pack, maxLength }: Pick<PackOptions, "pack" | "maxLength">,
): RowList {
  if (pack) return packSpans(examples, maxLength, order);
  const at = (index: number) => {
    const example = examples.at(order[index] ?? -1);
    return example && rowOf(example);
  };
  return { length: order.length, at };
}

/** The rows in which something is learned: another would cost a step and teach nothing. */
function learnedRows(rows: RowList): CountedRows {
  const indices: number[] = [];
  let tokens = 0;
  for (let i = 0; i < rows.length; i++) {
    const row = rows.at(i);
    if (row === undefined || !isLearned(row)) continue;
    indices.push(i);
    tokens += row.inputIds.length;
  }
  const { length } = indices;
  return { rows: length === rows.length ? rows : selectRows(rows, indices), length, tokens };
}

function isLearned({ labels, segmentStarts }: PackedRow): boolean {
  // The first token of a document is never predicted.
  const starts = new Set(segmentStarts);
  return labels.some((label, i) => label >= 0 && !starts.has(i));
}
