// XTuner's map functions for whole conversations that are not lists of OpenAI's messages, quirks included.
import { isJsonObject } from "../formats/json.ts";
import { trimEnd, trimStart } from "../formats/white-space.ts";
import type { Turn } from "./conversation.ts";
import type { MapOptions, RowReader } from "./map-row.ts";

/** A row already in standard form, with the keys that XTuner writes. */
export function mapStandard(row: RowReader): Turn[] {
  return row.list("conversation").map((turn) => {
    const system = turn.optionalText("system");
    const outputWithLoss = turn.flag("output_with_loss");
    const needEosToken = turn.flag("need_eos_token");
    const sep = turn.optionalText("sep");
    return {
      ...(system === "" ? {} : { system }),
      input: turn.optionalText("input"),
      output: turn.optionalText("output"),
      ...(outputWithLoss === undefined ? {} : { outputWithLoss }),
      ...(needEosToken === undefined ? {} : { needEosToken }),
      ...(sep === "" ? {} : { sep }),
    };
  });
}

/**
 * ShareGPT of "human" and "gpt" alone, as `wizardlm_map_fn`: a leading gpt is left out, humans in a row are joined
 * with nothing between, a last human without an answer falls away.
 */
export function mapWizardLm(row: RowReader): Turn[] {
  return mapHumanAndGpt(row, (message) => message.text("value"));
}

const IMAGE = "<image>";

/** `llava_map_fn`: the mark of an image goes to the front. Only the text is learned from. */
export function mapLlava(row: RowReader): Turn[] {
  return mapHumanAndGpt(row, (message) => {
    const text = message.text("value");
    if (!text.includes(IMAGE)) return text;
    return strip(`${IMAGE}\n${strip(text.replaceAll(IMAGE, ""))}`);
  });
}

/** `llava_image_only_map_fn`: of each question the mark of its image is left. */
export function mapLlavaImageOnly(row: RowReader): Turn[] {
  return mapHumanAndGpt(row, (message) => {
    if (message.text("value").includes(IMAGE)) return IMAGE;
    throw message.refuse(`it has no ${IMAGE}`, "Use the format llava, which keeps questions.");
  });
}

function mapHumanAndGpt(row: RowReader, ask: (message: RowReader) => string): Turn[] {
  const turns: Turn[] = [];
  let input = "";
  let isLeading = true;
  for (const message of row.list("conversations")) {
    const from = message.text("from");
    if (isLeading && from === "gpt") continue;
    isLeading = false;
    if (from === "human") input += ask(message);
    else if (from === "gpt") {
      turns.push({ input, output: message.text("value") });
      input = "";
    } else {
      throw message.refuse(
        `it is from ${JSON.stringify(from)}, and this format knows "human" and "gpt" only`,
        "Use the format sharegpt.",
      );
    }
  }
  return turns;
}

const HUMAN = "Human:";
const ASSISTANT = "Assistant:";

/**
 * `oasst1_map_fn`: a text cut at every "###", of which pieces that begin with a role are kept in their order,
 * paired up whoever speaks. A heading within a message cuts it, and what follows is lost: see `warnOasst1`.
 */
export function mapOasst1(row: RowReader): Turn[] {
  const pieces = piecesOf(row.text("text")).flatMap((piece) => piece.words ?? []);
  const turns: Turn[] = [];
  for (let i = 0; i + 1 < pieces.length; i += 2) {
    turns.push({ input: pieces[i] ?? "", output: pieces[i + 1] ?? "" });
  }
  return turns;
}

interface Piece {
  readonly text: string;
  readonly role?: string;
  readonly words?: string;
}

function piecesOf(text: string): Piece[] {
  return strip(text)
    .split("###")
    .map((part) => {
      const piece = strip(part);
      const role = [HUMAN, ASSISTANT].find((name) => piece.startsWith(name));
      if (role === undefined) return { text: piece };
      return { text: piece, role, words: strip(piece.slice(role.length)) };
    });
}

/** What visibly goes wrong with a row of oasst1's form, or undefined. */
export function warnOasst1(row: RowReader): string | undefined {
  const pieces = piecesOf(row.text("text"));
  const lost = pieces.find(({ text, role }) => role === undefined && text !== "");
  if (lost !== undefined) {
    const words = lost.text.length > 40 ? `${lost.text.slice(0, 40)}…` : lost.text;
    return `"###" stands where nobody begins to speak, so ${JSON.stringify(words)} is left out`;
  }
  const spoken = pieces.flatMap(({ role }) => role ?? []);
  const odd = spoken.findIndex((role, i) => role !== (i % 2 === 0 ? HUMAN : ASSISTANT));
  if (odd < 0) return undefined;
  return `message ${odd + 1} is ${spoken[odd] === HUMAN ? "a human's" : "an assistant's"}, where the other was due, so questions are learned as answers from there on`;
}

/** Text to be learned whole. XTuner strips white space from both ends, and writes its template around. */
export function mapPretrain(row: RowReader, { asXtuner }: MapOptions): Turn[] {
  const turn = { input: "", output: strip(row.text("text")) };
  return [asXtuner === true ? turn : { ...turn, isText: true }];
}

const TEXTS = ["text", "content"];

/** The column that holds a row's text, for `text`. */
export function textColumn(row: Readonly<Record<string, unknown>>): string | undefined {
  return TEXTS.find((name) => typeof row[name] === "string");
}

/** Text to be learned whole, as it is. */
export function mapText(row: RowReader): Turn[] {
  return [{ input: "", output: row.text(textColumn(row.value) ?? "text"), isText: true }];
}

/** What of a row is learned as text, and what is not. */
export function describeText(row: unknown): string {
  const columns = isJsonObject(row) ? Object.keys(row) : [];
  const column = isJsonObject(row) ? (textColumn(row) ?? "text") : "text";
  const others = columns.filter((name) => name !== column && name !== "continues");
  const unread = others.length === 0 ? "" : ` (not read: ${others.slice(0, 8).join(", ")})`;
  return `"${column}" to be learned whole${unread}`;
}

/** Segments of raw text, each learned or not: axolotl's `input_output`. Nothing is added to them. */
export function mapSegments(row: RowReader): Turn[] {
  const turns: Turn[] = [];
  let shown: string | undefined;
  for (const segment of row.list("segments")) {
    const text = segment.text("text");
    if (segment.flag("label") === true) {
      turns.push({ isRaw: true, input: shown ?? "", output: text });
      shown = undefined;
    } else {
      // Each segment is encoded by itself, so that borders of tokens are where the file has them.
      if (shown !== undefined) turns.push({ isRaw: true, input: shown, output: "" });
      shown = text;
    }
  }
  return shown === undefined ? turns : [...turns, { isRaw: true, input: shown, output: "" }];
}

function strip(text: string): string {
  return trimEnd(trimStart(text));
}
