// Some rows of a data set at every stage between the file and the tokens.
import { UserError } from "../../base/error.ts";
import type { Conversation } from "../../data/conversation.ts";
import { createEncoder, mapOptionsOf, withPlace, withSystem } from "../../data/dataset.ts";
import { createDraw } from "../../data/draw.ts";
import type { EncodedExample } from "../../data/encode.ts";
import { type MappedRow, readMappedRows } from "../../data/mapped-rows.ts";
import { applyTemplate } from "../../data/templates.ts";
import { abortable } from "./data-source.ts";
import type { DatasetRequest, Encoding } from "./dataset-view.ts";

export interface Sample {
  /** The file, and the row and line in it. */
  readonly where: string;
  /** As it is in the file. */
  readonly raw: unknown;
  /** After the map function; empty where the row holds nothing to learn. */
  readonly conversation: Conversation;
  /** After the template: turns of a named one, the whole text of the model's own. */
  readonly templated: Conversation | string;
  /** Absent where there is no conversation. */
  readonly example?: EncodedExample;
}

/** Draws `count` rows by the config's seed, and gives them in the order of the files. */
export async function drawSamples(
  { config, data, signal }: DatasetRequest,
  { options, opened }: Encoding,
  count: number,
): Promise<Sample[]> {
  const encode = createEncoder(options);
  const encodeWhole = createEncoder({ ...options, maxLength: Number.MAX_SAFE_INTEGER });
  const { template, system = "" } = options;
  const templatedBy = (conversation: Conversation) =>
    "render" in template
      ? opened.tokenizer.decode(encodeWhole(conversation).inputIds)
      : applyTemplate(withSystem(conversation, system), template);
  const sampleOf = ({ row: { value: raw }, place: where, map }: MappedRow): Sample => {
    const conversation = map();
    const sample = { where, raw, conversation };
    if (conversation.length === 0) return { ...sample, templated: [] };
    return { ...sample, templated: templatedBy(conversation), example: encode(conversation) };
  };
  const draw = createDraw<Sample>(count, config.seed);
  for (const [index, source] of data.entries()) {
    const rows = readMappedRows(abortable(source, signal), {
      ...mapOptionsOf(options, index),
      onBrokenRow: leaveOut,
    });
    for await (const mapped of rows) {
      if (!draw.isNextDrawn()) continue;
      try {
        draw.keep(sampleOf(mapped));
      } catch (error) {
        const fault = withPlace(error, mapped.place);
        if (!(fault instanceof UserError)) throw fault;
        leaveOut();
      }
    }
  }
  return draw.drawn();
}

/** Rows that cannot be read are told with the whole data set. */
function leaveOut(): void {}
