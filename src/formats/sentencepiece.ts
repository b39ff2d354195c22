// The SentencePiece model format (`tokenizer.model`): protobuf bytes to pieces and rules.
// Only what encoding needs is read; fields that are unknown here are skipped, and broken bytes refused.
import { UserError } from "../base/error.ts";
import { formatCount } from "../base/format.ts";

/** In the order of the format's numbers, from 1. GGUF uses the same. */
const PIECE_TYPES = ["normal", "unknown", "control", "user-defined", "unused", "byte"] as const;
const MODEL_KINDS = ["unigram", "bpe", "word", "char"] as const;

export type PieceType = (typeof PIECE_TYPES)[number];

export interface SentencePiece {
  readonly text: string;
  /** A 32-bit float. */
  readonly score: number;
  readonly type: PieceType;
}

/** A model as the encoder needs it, wherever it was read from. */
export interface SentencePieceModel {
  readonly kind: "bpe" | "unigram";
  /** A piece's index is its id. */
  readonly pieces: readonly SentencePiece[];
  /** −1 where there is none, as byte fallback allows. */
  readonly unknownId: number;
  readonly bosId: number | undefined;
  readonly eosId: number | undefined;
  readonly padId: number | undefined;
  /** A character without a piece becomes the pieces of its UTF-8 bytes, not the unknown one. */
  readonly byteFallback: boolean;
  /** The dummy space goes behind the text, not before it. */
  readonly whitespaceAsSuffix: boolean;
  /** "identity", "nmt_nfkc" …; what it does is all in `charsmap`. */
  readonly normalizerName: string;
  /** Rules of replacement, compiled to a trie of bytes; empty for none. */
  readonly charsmap: Uint8Array<ArrayBuffer>;
  readonly addDummyPrefix: boolean;
  readonly removeExtraWhitespaces: boolean;
  /** Spaces become "▁". */
  readonly escapeWhitespaces: boolean;
}

const AGAIN = "Download or copy the model's tokenizer file again.";
const OTHER = "Choose a model with a BPE or Unigram tokenizer, or one that has a tokenizer.json.";

/** The piece type of a number in a file. */
export function pieceTypeOf(number: number): PieceType | undefined {
  return PIECE_TYPES[number - 1];
}

/** Reads a whole file; `place` names it in errors. */
export function parseSentencePiece(bytes: Uint8Array, place: string): SentencePieceModel {
  const pieces: SentencePiece[] = [];
  const trainer = {
    kind: 1,
    whitespaceAsSuffix: false,
    byteFallback: false,
    bosId: 1,
    eosId: 2,
    padId: -1,
  };
  const normalizer = {
    normalizerName: "",
    charsmap: new Uint8Array(),
    addDummyPrefix: true,
    removeExtraWhitespaces: true,
    escapeWhitespaces: true,
  };
  readMessage(new ProtobufReader(bytes, place), {
    1: (reader) => pieces.push(readPiece(reader.message(), pieces.length, place)),
    2: (reader) =>
      readMessage(reader.message(), {
        3: (r) => (trainer.kind = r.int32()),
        24: (r) => (trainer.whitespaceAsSuffix = r.int32() !== 0),
        35: (r) => (trainer.byteFallback = r.int32() !== 0),
        41: (r) => (trainer.bosId = r.int32()),
        42: (r) => (trainer.eosId = r.int32()),
        43: (r) => (trainer.padId = r.int32()),
      }),
    3: (reader) =>
      readMessage(reader.message(), {
        1: (r) => (normalizer.normalizerName = r.text()),
        2: (r) => (normalizer.charsmap = r.bytes().slice()),
        3: (r) => (normalizer.addDummyPrefix = r.int32() !== 0),
        4: (r) => (normalizer.removeExtraWhitespaces = r.int32() !== 0),
        5: (r) => (normalizer.escapeWhitespaces = r.int32() !== 0),
      }),
  });
  const { kind: kindNumber, bosId, eosId, padId, ...rules } = trainer;
  const kind = MODEL_KINDS[kindNumber - 1];
  if (kind !== "bpe" && kind !== "unigram") {
    const name = kind === undefined ? `of the unknown kind ${kindNumber}` : `a "${kind}" model`;
    throw new UserError(`${place} is ${name}; only BPE and Unigram can be read.`, OTHER);
  }
  const model = {
    kind,
    pieces,
    unknownId: pieces.findIndex(({ type }) => type === "unknown"),
    bosId: idWithin(bosId, pieces),
    eosId: idWithin(eosId, pieces),
    padId: idWithin(padId, pieces),
    ...rules,
    ...normalizer,
  } as const;
  checkSentencePiece(model, place);
  return model;
}

/** What SentencePiece itself refuses, so that the encoder need not look. */
export function checkSentencePiece(model: SentencePieceModel, place: string): void {
  const refuse = (fact: string) => new UserError(`${place}: ${fact}.`, AGAIN);
  const seen = { plain: new Map<string, number>(), reserved: new Map<string, number>() };
  let bytes = 0;
  for (const [id, { text, score, type }] of model.pieces.entries()) {
    if (text === "") throw refuse(`piece ${id} is empty`);
    if (!Number.isFinite(score)) throw refuse(`the score of piece ${id} is ${score}`);
    const group = isPlain(model, { text, score, type }) ? seen.plain : seen.reserved;
    const before = group.get(text);
    if (before !== undefined) {
      throw refuse(`pieces ${before} and ${id} are both ${JSON.stringify(text)}`);
    }
    group.set(text, id);
    if (type !== "byte") continue;
    bytes++;
    if (!/^<0x[0-9A-F]{2}>$/.test(text)) {
      throw refuse(`piece ${id} should be a byte and is ${JSON.stringify(text)}`);
    }
  }
  const unknown = model.pieces.filter(({ type }) => type === "unknown").length;
  if (unknown > 1 || (unknown === 0 && !model.byteFallback)) {
    throw refuse(`it has ${formatCount(unknown)} pieces for what is unknown, where 1 is needed`);
  }
  if (bytes !== (model.byteFallback ? 256 : 0)) {
    const wanted = model.byteFallback ? "byte fallback needs 256" : "byte fallback is off";
    throw refuse(`it has ${bytes} pieces for bytes, and ${wanted}`);
  }
}

/**
 * Whether a text can be this piece, be it only on the way to another. The rest (control symbols, bytes)
 * stand for something else than their text. So does a lone NUL beside byte fallback, which InternLM2
 * has: SentencePiece takes the byte then, since 0.2.1.
 */
export function isPlain(model: SentencePieceModel, { text, type }: SentencePiece): boolean {
  if (text === "\0" && model.byteFallback) return false;
  return type === "normal" || type === "user-defined" || type === "unused";
}

/** Whether a text can be encoded as this piece. */
export function isUsable(model: SentencePieceModel, piece: SentencePiece): boolean {
  return isPlain(model, piece) && piece.type !== "unused";
}

/** Whether normalizing a text does no more than to mark spaces and to add one. */
export function keepsText(model: SentencePieceModel): boolean {
  return model.charsmap.length === 0 && !model.removeExtraWhitespaces;
}

function readPiece(reader: ProtobufReader, id: number, place: string): SentencePiece {
  let text = "";
  let score = 0;
  let number = 1;
  readMessage(reader, {
    1: (r) => (text = r.text()),
    2: (r) => (score = r.float()),
    3: (r) => (number = r.int32()),
  });
  const type = pieceTypeOf(number);
  if (type === undefined) {
    throw new UserError(`${place}: piece ${id} is of the unknown type ${number}.`, OTHER);
  }
  return { text, score, type };
}

function idWithin(id: number, pieces: readonly unknown[]): number | undefined {
  return id >= 0 && id < pieces.length ? id : undefined;
}

/** Calls the handler of each field; later values of a field replace earlier ones. */
function readMessage(
  reader: ProtobufReader,
  handlers: Readonly<Record<number, (reader: ProtobufReader) => unknown>>,
): void {
  while (reader.nextField()) {
    const handle = handlers[reader.field];
    if (handle === undefined) reader.skip();
    else handle(reader);
  }
}

const VARINT = 0;
const FIXED64 = 1;
const LENGTH = 2;
const FIXED32 = 5;

/** Reads protobuf's wire format. Every read checks that its bytes are there. */
class ProtobufReader {
  field = 0;
  #wire = VARINT;
  #at = 0;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #place: string;
  /** Where `bytes` begins in the file, for errors. */
  readonly #offset: number;

  constructor(bytes: Uint8Array, place: string, offset = 0) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#place = place;
    this.#offset = offset;
  }

  /** Goes to the next field; false at the end. */
  nextField(): boolean {
    if (this.#at === this.#bytes.length) return false;
    const { value } = this.#varint();
    this.field = Math.floor(value / 8);
    this.#wire = value % 8;
    if (this.field === 0) throw this.#broken("a field of number 0");
    return true;
  }

  int32(): number {
    this.#expect(VARINT);
    return this.#varint().low;
  }

  float(): number {
    this.#expect(FIXED32);
    const start = this.#take(4);
    return this.#view.getFloat32(start, true);
  }

  bytes(): Uint8Array {
    this.#expect(LENGTH);
    const { value: length } = this.#varint();
    const start = this.#take(length);
    return this.#bytes.subarray(start, start + length);
  }

  text(): string {
    const start = this.#at;
    try {
      return utf8.decode(this.bytes());
    } catch (error) {
      if (error instanceof UserError) throw error;
      this.#at = start;
      throw this.#broken("a text that is not UTF-8");
    }
  }

  message(): ProtobufReader {
    const bytes = this.bytes();
    return new ProtobufReader(bytes, this.#place, this.#offset + this.#at - bytes.length);
  }

  skip(): void {
    if (this.#wire === VARINT) this.#varint();
    else if (this.#wire === FIXED64) this.#take(8);
    else if (this.#wire === LENGTH) this.bytes();
    else if (this.#wire === FIXED32) this.#take(4);
    else throw this.#broken(`a field of the wire type ${this.#wire}`);
  }

  #expect(wire: number): void {
    if (this.#wire === wire) return;
    throw this.#broken(`field ${this.field} in the wire type ${this.#wire}, not ${wire}`);
  }

  /** The low 32 bits as a signed number, and the whole as a double. */
  #varint(): { value: number; low: number } {
    let value = 0;
    let low = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.#bytes[this.#take(1)] as number;
      value += (byte & 0x7f) * 2 ** shift;
      if (shift < 32) low |= (byte & 0x7f) << shift;
      if (byte < 0x80) return { value, low };
    }
    throw this.#broken("a number of more than 10 bytes");
  }

  /** Steps over `length` bytes and returns where they began. */
  #take(length: number): number {
    const start = this.#at;
    if (length > this.#bytes.length - start) {
      throw this.#broken(`${length} bytes where ${this.#bytes.length - start} are left`);
    }
    this.#at += length;
    return start;
  }

  #broken(fact: string): UserError {
    const at = this.#offset + this.#at;
    return new UserError(
      `${this.#place} is no whole SentencePiece model: byte ${at} begins ${fact}.`,
      AGAIN,
    );
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
