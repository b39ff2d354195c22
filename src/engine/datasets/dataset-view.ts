// The data set of a config as training would see it, to be looked at: no GPU, and no weight is read.
import type { TrainConfig } from "../../config.ts";
import {
  type Dataset,
  encodeDataset,
  type EncodeDatasetOptions,
  packDataset,
} from "../../data/dataset.ts";
import type { EncodedDataset } from "../../data/intake.ts";
import { type PackedRow, rowOf, type RowList } from "../../data/pack.ts";
import type { Folder } from "../../base/folder.ts";
import type { DataSource } from "../../engine.ts";
import { createStreamDecoder, type Tokenizer } from "../../formats/tokenizer.ts";
import { encodeOptionsOf, packOptionsOf } from "./data-options.ts";
import { abortable } from "./data-source.ts";
import {
  chooseTemplate,
  type ChosenTemplate,
  type ModelFolder,
  openModelFolder,
} from "../model-folder.ts";

export interface DatasetRequest {
  readonly config: TrainConfig;
  readonly model: Folder;
  readonly data: readonly DataSource[];
  readonly signal?: AbortSignal;
}

/** How the data is encoded: what of a run comes before its first row. */
export interface Encoding {
  readonly opened: ModelFolder;
  readonly chosen: ChosenTemplate;
  readonly options: EncodeDatasetOptions;
}

export interface DatasetView extends Encoding {
  readonly encoded: EncodedDataset;
  /** Absent where answers are left out: nothing can be trained on that. */
  readonly dataset?: Dataset;
  /** The rows that training is given, by the packing. */
  readonly rows: RowList;
}

export async function openEncoding({ config, model }: DatasetRequest): Promise<Encoding> {
  const opened = await openModelFolder(model);
  const chosen = chooseTemplate(config.prompt_template, opened);
  return { opened, chosen, options: encodeOptionsOf(config, opened.tokenizer, chosen) };
}

/** Reads and packs the whole data set. Refuses what training would refuse. */
export async function buildDatasetView(
  { config, data, signal }: DatasetRequest,
  encoding: Encoding,
): Promise<DatasetView> {
  const sources = data.map((source) => abortable(source, signal));
  const encoded = await encodeDataset(sources, encoding.options);
  if (config.input_ids_with_output) {
    const dataset = packDataset(encoded, packOptionsOf(config));
    return { ...encoding, encoded, dataset, rows: dataset.train };
  }
  const { examples } = encoded;
  const at = (index: number) => {
    const example = examples.at(index);
    return example && rowOf(example);
  };
  return { ...encoding, encoded, rows: { length: examples.length, at } };
}

/** A run of tokens that are all learned or all not. */
export interface Segment {
  readonly isLearned: boolean;
  readonly tokens: number;
  readonly text: string;
}

/** A row in its order, cut where learning begins and ends. Special tokens are part of the texts. */
export function segmentsOf({ inputIds, labels }: PackedRow, tokenizer: Tokenizer): Segment[] {
  const segments: { isLearned: boolean; tokens: number; text: string }[] = [];
  for (const [i, text] of tokenTexts(inputIds, tokenizer).entries()) {
    const isLearned = (labels[i] ?? -1) >= 0;
    let last = segments.at(-1);
    if (last?.isLearned !== isLearned) segments.push((last = { isLearned, tokens: 0, text: "" }));
    last.tokens++;
    last.text += text;
  }
  return segments;
}

/** What each token adds to the text. */
function tokenTexts(ids: ArrayLike<number>, tokenizer: Tokenizer): string[] {
  const decoder = createStreamDecoder(tokenizer);
  const texts = Array.from(ids, (id) => decoder.push(id));
  const rest = decoder.flush();
  if (rest !== "" && texts.length > 0) texts[texts.length - 1] += rest;
  return texts;
}
