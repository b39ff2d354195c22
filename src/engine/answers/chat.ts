// Talking to a model: conversation in, text out as it comes.
import { invariant, UserError } from "../../base/error.ts";
import type {
  Chat,
  ChatReply,
  LoadRequest,
  Message,
  PieceInfo,
  SamplingOptions,
} from "../../engine.ts";
import { createStreamDecoder } from "../../formats/tokenizer.ts";
import type { Gpu } from "../../gpu/device.ts";
import { readAdapterFolder } from "../../model/files/adapter-files.ts";
import type { Generator } from "../../model/generate.ts";
import type { Model } from "../../model/transformer.ts";
import {
  chooseTemplate,
  type ChosenTemplate,
  type ModelFolder,
  openModelFolder,
  readManifest,
} from "../model-folder.ts";
import { History } from "./history.ts";
import { openGenerator } from "./open-generator.ts";
import { createStopper } from "./stopper.ts";
import type { Tuner } from "../tuning/tune.ts";

const DEFAULT_CONTEXT_TOKENS = 2048;

/** A prompt that leaves no room for an answer. */
class ContextFullError extends UserError {
  override readonly name = "ContextFullError";
}

/** Loads a model, with an adapter if one is named, ready to answer. */
export async function openChat(
  gpu: Gpu,
  now: () => number,
  request: LoadRequest,
  tuner?: Tuner,
): Promise<Chat> {
  const opened = await openModelFolder(request.model);
  const { architecture } = opened;
  const adapterFiles = request.adapter && (await readAdapterFolder(request.adapter, opened));
  const manifest = await readManifest(request.adapter ?? request.model);
  const trained = manifest?.promptTemplate;
  const name = request.promptTemplate ?? trained ?? "auto";
  const chosen = chooseTemplate(name, opened);
  if (request.hasSystem === true) refuseWithoutSystem(chosen);

  const capacity = Math.min(
    request.contextTokens ?? DEFAULT_CONTEXT_TOKENS,
    architecture.maxPositions,
  );
  const parts = { opened, adapterFiles, manifest, capacity };
  const opening = await openGenerator(gpu, request, parts, tuner);
  const { model, generator } = opening;
  const answerer = new Answerer(generator, opened, chosen, now);
  const scale = scaleSetter(model, generator);
  return {
    template: {
      name: chosen.name,
      source: request.promptTemplate
        ? "asked for"
        : trained
          ? "the one it was trained with"
          : "the model's own",
      ...(trained !== undefined &&
        trained !== name && {
          warning: `This model was trained with the prompt template ${trained}; with ${name} its answers may be worse or not end.`,
        }),
    },
    system: manifest?.system ?? "",
    contextTokens: capacity,
    reply(messages, sampling, onText, signal) {
      scale.apply();
      return answerer.reply(messages, sampling, onText, signal);
    },
    logits(messages) {
      scale.apply();
      return answerer.logits(messages);
    },
    setAdapterScale: (factor) => scale.set(factor),
    close: () => opening.free(),
  };
}

/** Refuses a named template that cannot write a system message; a model's own says so itself. */
export function refuseWithoutSystem({
  name,
  template,
}: Pick<ChosenTemplate, "name" | "template">): void {
  if ("render" in template || template.system !== undefined) return;
  throw new UserError(
    `The prompt template ${name} has no place for a system message.`,
    "Leave --system and --system-template out, or choose another --prompt-template.",
  );
}

/** A scalar that every run of a program reads: what is cached was computed with the one before. */
function scaleSetter({ step, adapter }: Model, generator: Generator) {
  let applied = 1;
  let wanted = 1;
  return {
    set(scale: number): void {
      invariant(scale >= 0 && scale <= 2, () => `an adapter scale of ${scale}, not from 0 to 2`);
      wanted = scale;
    },
    /** Not in the midst of an answer. */
    apply(): void {
      if (wanted === applied || !adapter) return;
      step.set({ adapterScale: wanted });
      generator.reset();
      applied = wanted;
    },
  };
}

/** Renders, generates and decodes. Shared by chat and by the questions asked during training. */
export class Answerer {
  readonly #generator: Generator;
  readonly #opened: ModelFolder;
  readonly #chosen: ChosenTemplate;
  readonly #now: () => number;
  readonly #history: History;

  constructor(
    generator: Generator,
    opened: ModelFolder,
    chosen: ChosenTemplate,
    now: () => number,
  ) {
    this.#generator = generator;
    this.#opened = opened;
    this.#chosen = chosen;
    this.#now = now;
    this.#history = new History(opened, chosen);
  }

  async reply(
    messages: readonly Message[],
    sampling: SamplingOptions,
    onText: (text: string, info: PieceInfo) => void = () => {},
    signal?: AbortSignal,
  ): Promise<ChatReply> {
    return (await this.replyWhole(messages, sampling, onText, signal)).reply;
  }

  /** Also the text of all tokens from the prompt's first to the last drawn, special ones included. */
  async replyWhole(
    messages: readonly Message[],
    sampling: SamplingOptions,
    onText: (text: string, info: PieceInfo) => void = () => {},
    signal?: AbortSignal,
  ): Promise<{ reply: ChatReply; sequence: string }> {
    const { tokenizer } = this.#opened;
    const prompt = this.#encode(messages);
    const stopper = createStopper(
      [...this.#chosen.stopWords, ...sampling.stopWords],
      createStreamDecoder(tokenizer, { skipSpecialTokens: true }),
      onText,
    );
    const endIds = [...this.#opened.endIds, ...this.#stopIds(sampling.stopWords)];
    const started = this.#now();
    const { ids, endId, endedBy } = await this.#generator.generate(prompt, {
      ...sampling,
      endIds,
      signal,
      onToken: (id, probability) => stopper.push(id, probability),
    });
    const text = stopper.finish();
    this.#history.keep({ messages, prompt, answer: ids, text });
    const seconds = (this.#now() - started) / 1000;
    const reply: ChatReply = {
      text,
      tokens: ids.length,
      promptTokens: prompt.length,
      endedBy,
      tokensPerSecond: ids.length / seconds,
    };
    const end = endId === undefined ? [] : [endId];
    return { reply, sequence: tokenizer.decode([...prompt, ...ids, ...end]) };
  }

  /** Of the answer's first token. */
  logits(messages: readonly Message[]): Promise<Float32Array<ArrayBuffer>> {
    return this.#generator.logits(this.#encode(messages));
  }

  #encode(messages: readonly Message[]): number[] {
    const prompt = this.#history.encode(messages);
    const { capacity } = this.#generator;
    if (prompt.length < capacity) return prompt;
    throw new ContextFullError(
      `The conversation is ${prompt.length} tokens long; the context holds ${capacity}.`,
      "Start a new conversation, or shorten the message.",
    );
  }

  /** Stop words that are tokens by themselves are caught before they are decoded. */
  #stopIds(stopWords: readonly string[]): number[] {
    const { tokenizer } = this.#opened;
    return [...this.#chosen.stopWords, ...stopWords].flatMap((word) => {
      const id = tokenizer.idOf(word);
      return id === undefined ? [] : [id];
    });
  }
}
