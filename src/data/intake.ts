// Rows on their way to tokens: each is encoded and kept, or counted with the reason why it is not.
import type { UserError } from "../base/error.ts";
import { Recent } from "../base/recent.ts";
import type { Conversation } from "./conversation.ts";
import { createDraw } from "./draw.ts";
import type { EncodedExample, ExampleList } from "./encode.ts";
import type { EncodeFunnel, FileReading } from "./funnel.ts";
import type { Example } from "./pack.ts";
import { TokenStore } from "./token-store.ts";

export interface IntakeOptions {
  readonly maxLength: number;
  /** So many rows are drawn by `seed`, where there are more; undefined takes all. */
  readonly maxRows: number | undefined;
  readonly seed: number;
  /** Examples of which nothing is learned are kept too: questions without answers are meant to be. */
  readonly keepsUnlabeled: boolean;
  readonly encode: (conversation: Conversation) => EncodedExample;
  /** A text's next piece as the examples that it fills; `continues` says that it is not the last. */
  readonly encodeText: (text: string, continues: boolean) => Iterable<EncodedExample>;
}

export interface EncodedDataset {
  /** In the order of the files. An example is built when it is asked for. */
  readonly examples: ExampleList;
  readonly funnel: EncodeFunnel;
}

export interface Intake {
  /** Takes a row and says whether it is drawn; if so `map` is called. Where it throws, the row is not counted. */
  take(map: () => Conversation): boolean;
  /** The same for a text to be continued over rows; where `continues`, the next call has more of it. */
  takeText(read: () => string, continues: boolean): boolean;
  /** Whether the last call of `takeText` said that there is more to come. */
  isInText(): boolean;
  /** Ends a text of which no more comes after all. */
  endText(): void;
  /** Counts a row that cannot be read. */
  readonly noteBroken: (fault: UserError) => void;
  /** Counts a row in which something visibly goes wrong, though it is read. */
  noteDoubt(doubt: string): void;
  noteFile(reading: FileReading): void;
  finish(): EncodedDataset;
}

/** What became of a row; its examples are those from `first` up to `end`. */
interface Outcome {
  readonly fate: "kept" | "empty" | "unlabeled";
  readonly first: number;
  readonly end: number;
}

/** Whether the text is drawn, and where its examples begin. */
interface TextUnderWay {
  readonly isDrawn: boolean;
  readonly first: number;
}

export function createIntake(options: IntakeOptions): Intake {
  const store = new TokenStore();
  const funnel = emptyFunnel(options.maxLength);
  const draw =
    options.maxRows === undefined ? undefined : createDraw<Outcome>(options.maxRows, options.seed);
  const encode = createRepeater(store, options);
  let text: TextUnderWay | undefined;

  const isDrawn = (): boolean => {
    funnel.rowsRead++;
    return draw?.isNextDrawn() ?? true;
  };
  const settle = (outcome: Outcome) => (draw ? draw.keep(outcome) : countOutcome(outcome, funnel));
  const addText = (piece: string, continues: boolean) => {
    for (const example of options.encodeText(piece, continues)) store.add(example);
  };
  const closeText = ({ isDrawn: wasDrawn, first }: TextUnderWay) => {
    const end = store.length;
    if (wasDrawn) settle({ fate: end === first ? "empty" : "kept", first, end });
    text = undefined;
  };

  return {
    take(map) {
      if (!isDrawn()) return false;
      const first = store.length;
      const fate = uncountedOnFault(funnel, () => {
        const conversation = map();
        return conversation.length === 0 ? "empty" : encode(conversation);
      });
      settle({ fate, first, end: store.length });
      return true;
    },
    takeText(read, continues) {
      const under = text ?? { isDrawn: isDrawn(), first: store.length };
      const piece = under.isDrawn ? (text ? read() : uncountedOnFault(funnel, read)) : "";
      text = under;
      if (text.isDrawn) addText(piece, continues);
      if (!continues) closeText(text);
      return under.isDrawn;
    },
    endText() {
      if (!text) return;
      if (text.isDrawn) addText("", false);
      closeText(text);
    },
    isInText: () => text !== undefined,
    noteBroken(fault) {
      funnel.rowsRead++;
      funnel.droppedBroken++;
      funnel.firstBroken ??= fault.message;
    },
    noteDoubt(doubt) {
      funnel.doubtful++;
      funnel.firstDoubt ??= doubt;
    },
    noteFile: (reading) => void funnel.files.push(reading),
    finish: () =>
      draw
        ? finishDraw(draw.drawn(), store, funnel)
        : { examples: store, funnel: countExamples(store, funnel) },
  };
}

/** Runs what may throw for a row that is counted already; then it is not. */
function uncountedOnFault<T>(funnel: EncodeFunnel, read: () => T): T {
  try {
    return read();
  } catch (error) {
    funnel.rowsRead--;
    throw error;
  }
}

function countOutcome({ fate, first, end }: Outcome, funnel: EncodeFunnel): void {
  if (fate === "empty") funnel.droppedEmpty++;
  if (fate === "unlabeled") funnel.droppedUnlabeled++;
  if (end - first > 1) funnel.continued++;
}

function finishDraw(
  drawn: readonly Outcome[],
  store: TokenStore,
  funnel: EncodeFunnel,
): EncodedDataset {
  funnel.notDrawn = funnel.rowsRead - funnel.droppedBroken - drawn.length;
  for (const outcome of drawn) countOutcome(outcome, funnel);
  const examples = new SelectedExamples(store, indicesOf(drawn));
  return { examples, funnel: countExamples(examples, funnel) };
}

/** Few, since rows that differ are remembered in vain; those that repeat come back soon. */
const MEMO_ENTRIES = 256;
const MEMO_KEY_CHARS = 8192;

/** Encodes into the store; a conversation that came lately is neither encoded nor stored again. */
function createRepeater(
  store: TokenStore,
  { encode, keepsUnlabeled }: IntakeOptions,
): (conversation: Conversation) => "kept" | "unlabeled" {
  /** Its index in the store, or −1 where nothing of it is learned. */
  const recent = new Recent<number>(MEMO_ENTRIES);
  return (conversation) => {
    const key = JSON.stringify(conversation);
    const before = recent.find(key);
    if (before !== undefined) {
      if (before < 0) return "unlabeled";
      store.repeat(before);
      return "kept";
    }
    const example = encode(conversation);
    const isKept = keepsUnlabeled || example.labelTokens > 0;
    const index = isKept ? store.add(example) : -1;
    if (key.length <= MEMO_KEY_CHARS) recent.keep(key, index);
    return isKept ? "kept" : "unlabeled";
  };
}

function emptyFunnel(maxLength: number): EncodeFunnel {
  return {
    files: [],
    rowsRead: 0,
    droppedBroken: 0,
    doubtful: 0,
    notDrawn: 0,
    droppedEmpty: 0,
    droppedUnlabeled: 0,
    maxLength,
    kept: 0,
    continued: 0,
    truncated: 0,
    tokensLost: 0,
    endless: 0,
    endsLost: 0,
    tokens: 0,
    labelTokens: 0,
  };
}

function countExamples(
  examples: Pick<TokenStore, "length" | "countsOf">,
  funnel: EncodeFunnel,
): EncodeFunnel {
  funnel.kept = examples.length;
  for (let i = 0; i < examples.length; i++) {
    const { tokens, labelTokens, tokensLost, hasEnd } = examples.countsOf(i);
    funnel.tokens += tokens;
    funnel.labelTokens += labelTokens;
    funnel.tokensLost += tokensLost;
    if (tokensLost > 0) funnel.truncated++;
    if (hasEnd) continue;
    funnel.endless++;
    if (tokensLost > 0) funnel.endsLost++;
  }
  return funnel;
}

/** Some of a store's examples. */
class SelectedExamples implements ExampleList {
  readonly #store: TokenStore;
  readonly #indices: Uint32Array;

  constructor(store: TokenStore, indices: Uint32Array) {
    this.#store = store;
    this.#indices = indices;
  }

  get length(): number {
    return this.#indices.length;
  }

  at(index: number): EncodedExample | undefined {
    const own = this.#indices[index];
    return own === undefined ? undefined : this.#store.at(own);
  }

  lengthOf(index: number): number {
    return this.countsOf(index).tokens;
  }

  copy(index: number, from: number, row: Example, at: number, count: number): void {
    this.#store.copy(this.#indices[index] as number, from, row, at, count);
  }

  countsOf(index: number): ReturnType<TokenStore["countsOf"]> {
    return this.#store.countsOf(this.#indices[index] as number);
  }
}

function indicesOf(outcomes: readonly Outcome[]): Uint32Array {
  const indices: number[] = [];
  for (const { first, end } of outcomes) for (let i = first; i < end; i++) indices.push(i);
  return Uint32Array.from(indices);
}
