// A conversation in standard form: what every dataset format is mapped to, and every encoder reads.

/** One exchange. Before templating, texts are the data's own; after, `input` has the whole prompt. */
export interface Turn {
  /** Shown once, before this turn's input. Empty is none. */
  system?: string;
  input: string;
  output: string;
  /** False keeps the output in the context and out of the loss. Default true. */
  outputWithLoss?: boolean;
  /** Whether the tokenizer's EOS follows the output. Default true. */
  needEosToken?: boolean;
  /** Text after the turn, never learned. Default none. */
  sep?: string;
}

export type Conversation = readonly Turn[];
