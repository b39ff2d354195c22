// Data as the model will see it, by the very functions that training uses: one row at once, all rows counted.
import { AbortedError, UserError } from "../base/error.ts";
import type { TrainConfig } from "../config.ts";
import {
  createEncoder,
  encodeDataset,
  type EncodeDatasetOptions,
  packDataset,
} from "../data/dataset.ts";
import type { FunnelReport } from "../data/funnel.ts";
import type { EncodedDataset } from "../data/intake.ts";
import type { DataSource } from "../engine.ts";
import { encodeOptionsOf, packOptionsOf } from "../engine/datasets/data-options.ts";
import { chooseTemplate, openModelFolder } from "../engine/model-folder.ts";
import { createStreamDecoder, type Tokenizer } from "../formats/tokenizer.ts";
import type { DataExample, DataPreview, PreviewToken } from "./api.ts";
import { readConversation } from "./data-read.ts";
import { createPause, readData } from "./data-store.ts";
import { withModel } from "./locks.ts";
import { dataSources, modelFolder } from "./storage.ts";

export async function previewData(
  ids: readonly string[],
  modelId: string,
  config: TrainConfig,
  row: number,
): Promise<DataPreview> {
  const example = await exampleOf(ids, modelId, config, row);
  return { ...example, funnel: await funnelOf(ids, modelId, config) };
}

/** One row, counted from 0 through all data sets. */
export async function exampleOf(
  ids: readonly string[],
  modelId: string,
  config: TrainConfig,
  row: number,
): Promise<DataExample> {
  const { id, at } = await locate(ids, row);
  const conversation = await readConversation(id, at);
  const opened = await openEncoding(modelId, config);
  if (conversation.length === 0) return { rendered: "", tokens: [], tokenCount: 0, isCut: false };
  const { inputIds, labels } = opened.encodeWhole(conversation);
  const texts = textsOf(inputIds, opened.options.tokenizer);
  const tokens = texts.slice(0, config.max_length).map((text, i): PreviewToken => ({
    id: inputIds[i] ?? 0,
    text,
    isTrained: (labels[i] ?? -1) >= 0,
  }));
  const tokenCount = inputIds.length;
  return { rendered: texts.join(""), tokens, tokenCount, isCut: tokenCount > config.max_length };
}

async function locate(ids: readonly string[], row: number): Promise<{ id: string; at: number }> {
  let at = row;
  for (const id of ids) {
    const { rows } = await readData(id);
    if (at < rows) return { id, at };
    at -= rows;
  }
  throw new UserError(
    `There is no row ${row + 1}; the data sets hold ${row - at}.`,
    "Look at an earlier row.",
  );
}

/** What each token adds to the text. */
function textsOf(ids: ArrayLike<number>, tokenizer: Tokenizer): string[] {
  const decoder = createStreamDecoder(tokenizer);
  const texts = Array.from(ids, (id) => decoder.push(id));
  const rest = decoder.flush();
  if (rest !== "" && texts.length > 0) texts[texts.length - 1] += rest;
  return texts;
}

// ---------------------------------------------------------------- the model's encoding, kept for the next row

interface Encoding {
  readonly options: EncodeDatasetOptions;
  readonly encodeWhole: ReturnType<typeof createEncoder>;
}

/** The result of the last key. A failure is not kept. */
function createKept<T>(): (key: string, make: () => Promise<T>) => Promise<T> {
  let kept: { readonly key: string; readonly made: Promise<T> } | undefined;
  return (key, make) => {
    if (kept?.key === key) return kept.made;
    const mine = { key, made: make() };
    kept = mine;
    mine.made.catch(() => {
      if (kept === mine) kept = undefined;
    });
    return mine.made;
  };
}

const keepEncoding = createKept<Encoding>();
const keepDataset = createKept<EncodedDataset>();
const keepFunnel = createKept<FunnelReport>();

/** What of a config decides how text becomes tokens. */
function encodingKey(modelId: string, config: TrainConfig): unknown[] {
  return [
    modelId,
    config.prompt_template,
    config.system,
    config.max_length,
    config.dataset_format,
    config.field_messages,
    config.message_field_role,
    config.message_field_content,
    config.max_dataset_length,
    config.seed,
    config.input_ids_with_output,
    config.compat,
  ];
}

function openEncoding(modelId: string, config: TrainConfig): Promise<Encoding> {
  return keepEncoding(JSON.stringify(encodingKey(modelId, config)), () =>
    withModel(modelId, async () => {
      const opened = await openModelFolder(await modelFolder(modelId));
      const chosen = chooseTemplate(config.prompt_template, opened);
      const options = encodeOptionsOf(config, opened.tokenizer, chosen);
      const whole = { ...options, maxLength: Number.MAX_SAFE_INTEGER };
      return { options, encodeWhole: createEncoder(whole) };
    }),
  );
}

// ---------------------------------------------------------------- what becomes of all rows

/** What becomes of all rows; kept for as long as nothing changes. */
export async function funnelOf(
  ids: readonly string[],
  modelId: string,
  config: TrainConfig,
): Promise<FunnelReport> {
  const records = await Promise.all(ids.map(readData));
  // A set that was mapped anew has other rows under the same id.
  const sets = records.map(({ id, bytes, mapping }) => [id, bytes, mapping]);
  const encodingOf = JSON.stringify([sets, encodingKey(modelId, config)]);
  const packing = packOptionsOf(config);
  const packingOf = JSON.stringify([encodingOf, packing]);
  return keepFunnel(packingOf, async () => {
    const { options } = await openEncoding(modelId, config);
    const encoded = await keepDataset(encodingOf, () => encodeAll(ids, options, encodingOf));
    return packDataset(encoded, packing).report;
  });
}

/** The newest wish; an older one that is still being worked on ends. */
let wanted = "";

async function encodeAll(
  ids: readonly string[],
  options: EncodeDatasetOptions,
  key: string,
): Promise<EncodedDataset> {
  wanted = key;
  const check = () => {
    if (wanted !== key) throw new AbortedError("This count was given up for a newer one.");
  };
  const sources = await dataSources(ids);
  return encodeDataset(
    sources.map((source) => ({
      name: source.name,
      stream: () => inSmallPieces(source.stream(), check),
    })),
    options,
  );
}

/** Some hundred rows at a time, so that other calls are answered between them. */
const PIECE_BYTES = 1 << 14;

async function* inSmallPieces(
  stream: ReturnType<DataSource["stream"]>,
  check: () => void,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const pause = createPause();
  for await (const chunk of stream) {
    for (let start = 0; start < chunk.length; start += PIECE_BYTES) {
      yield chunk.subarray(start, start + PIECE_BYTES);
      await pause();
      check();
    }
  }
}
