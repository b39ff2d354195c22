// Some rows of a data set at every stage between the file and the tokens.
import type { Conversation } from "../data/conversation.ts";
import { createEncoder, mapOptionsOf, withSystem } from "../data/dataset.ts";
import { createDraw } from "../data/draw.ts";
import type { EncodedExample } from "../data/encode.ts";
import { warnOfRow } from "../data/formats.ts";
import { readMappedRows } from "../data/mapped-rows.ts";
import { applyTemplate } from "../data/templates.ts";
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

export interface Samples {
  /** In the order of the files. */
  readonly samples: readonly Sample[];
  /** Rows, of all, that are mapped although something visibly goes wrong with them, and the first one's words. */
  readonly oddRows: number;
  readonly firstOdd?: string;
}

/** Draws `count` rows by the config's seed. */
export async function drawSamples(
  { config, data, signal }: DatasetRequest,
  { options, opened }: Encoding,
  count: number,
): Promise<Samples> {
  const encode = createEncoder(options);
  const encodeWhole = createEncoder({ ...options, maxLength: Number.MAX_SAFE_INTEGER });
  const { template, system = "" } = options;
  const templatedBy = (conversation: Conversation) =>
    "render" in template
      ? opened.tokenizer.decode(encodeWhole(conversation).inputIds)
      : applyTemplate(withSystem(conversation, system), template);
  const draw = createDraw<Sample>(count, config.seed);
  const oddities: string[] = [];
  for (const [index, source] of data.entries()) {
    const rows = readMappedRows(abortable(source, signal), {
      ...mapOptionsOf(options, index),
      onBrokenRow: leaveOut,
    });
    for await (const mapped of rows) {
      const oddity = warnOfRow(mapped.detected.format, mapped.row, source.name);
      if (oddity !== undefined) oddities.push(oddity);
      if (!draw.isNextDrawn()) continue;
      const { value: raw, row, line } = mapped.row;
      const conversation = mapped.map();
      const where = `${source.name}, row ${row} (line ${line})`;
      const sample = { where, raw, conversation };
      draw.keep(
        conversation.length === 0
          ? { ...sample, templated: [] }
          : { ...sample, templated: templatedBy(conversation), example: encode(conversation) },
      );
    }
  }
  const [firstOdd] = oddities;
  const odd = { oddRows: oddities.length, ...(firstOdd !== undefined && { firstOdd }) };
  return { samples: draw.drawn(), ...odd };
}

/** Rows that cannot be read are told with the whole data set. */
function leaveOut(): void {}
