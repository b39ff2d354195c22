// Talking to a model: conversation in, text out as it comes.
import { UserError } from "../base/error.ts";
import { encodePrompt } from "../data/prompt.ts";
import type { Chat, ChatReply, LoadRequest, Message, SamplingOptions } from "../engine.ts";
import { createStreamDecoder } from "../formats/tokenizer.ts";
import type { Gpu } from "../gpu/device.ts";
import { readAdapterFolder } from "../model/adapter-files.ts";
import { Generator } from "../model/generate.ts";
import { freeModel, loadModel } from "./load-model.ts";
import {
  chooseTemplate,
  type ChosenTemplate,
  type ModelFolder,
  openModelFolder,
  readManifest,
} from "./model-folder.ts";

const DEFAULT_CONTEXT_TOKENS = 2048;

/** Loads a model, with an adapter if one is named, ready to answer. */
export async function openChat(gpu: Gpu, now: () => number, request: LoadRequest): Promise<Chat> {
  const opened = await openModelFolder(request.model);
  const { architecture } = opened;
  const adapterFiles = request.adapter && (await readAdapterFolder(request.adapter, opened));
  const manifest = await readManifest(request.adapter ?? request.model);
  const trained = manifest?.promptTemplate;
  const name = request.promptTemplate ?? trained ?? "auto";
  const chosen = chooseTemplate(name, opened);

  const capacity = Math.min(
    request.contextTokens ?? DEFAULT_CONTEXT_TOKENS,
    architecture.maxPositions,
  );
  const model = await loadModel(gpu, opened, {
    quantization: request.quantization ?? "none",
    doubleQuant: manifest?.doubleQuant ?? true,
    computeDtype: request.computeDtype ?? "auto",
    // The padding of the last chunk of a prompt has positions too.
    positions: capacity + Generator.paddingTokens,
    contextTokens: capacity,
    ...(adapterFiles && { targets: adapterFiles.targets }),
    onProgress: request.onProgress,
  });
  if (adapterFiles) model.adapter?.write(adapterFiles.matrices);
  const generator = await Generator.create(model, capacity).catch((error: unknown) => {
    freeModel(model);
    throw error;
  });
  const answerer = new Answerer(generator, opened, chosen, now);
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
    reply: (messages, sampling, onText, signal) =>
      answerer.reply(messages, sampling, onText, signal),
    close() {
      generator.free();
      freeModel(model);
    },
  };
}

/** Renders, generates and decodes. Shared by chat and by the questions asked during training. */
export class Answerer {
  readonly #generator: Generator;
  readonly #opened: ModelFolder;
  readonly #chosen: ChosenTemplate;
  readonly #now: () => number;

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
  }

  async reply(
    messages: readonly Message[],
    sampling: SamplingOptions,
    onText: (text: string) => void = () => {},
    signal?: AbortSignal,
  ): Promise<ChatReply> {
    const { tokenizer } = this.#opened;
    const prompt = encodePrompt(
      messages.map((message) => ({ ...message })),
      tokenizer,
      this.#chosen.template,
    );
    const { capacity } = this.#generator;
    if (prompt.length >= capacity) {
      throw new UserError(
        `The conversation is ${prompt.length} tokens long; the context holds ${capacity}.`,
        "Start a new conversation (RESET), or shorten the message.",
      );
    }
    const stopper = createStopper(
      [...this.#chosen.stopWords, ...sampling.stopWords],
      createStreamDecoder(tokenizer, { skipSpecialTokens: true }),
      onText,
    );
    const endIds = [...this.#opened.endIds, ...this.#stopIds(sampling.stopWords)];
    const started = this.#now();
    const { ids, endedBy } = await this.#generator.generate(prompt, {
      ...sampling,
      endIds,
      signal,
      onToken: (id) => stopper.push(id),
    });
    const text = stopper.finish();
    const seconds = (this.#now() - started) / 1000;
    return {
      text,
      tokens: ids.length,
      promptTokens: prompt.length,
      endedBy,
      tokensPerSecond: ids.length / seconds,
    };
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

/** Passes text on, but for a stop word and what might yet become one. */
function createStopper(
  stopWords: readonly string[],
  decoder: ReturnType<typeof createStreamDecoder>,
  onText: (text: string) => void,
) {
  let text = "";
  let shown = 0;
  let isStopped = false;
  const words = stopWords.filter((word) => word !== "");
  const show = (end: number) => {
    if (end > shown) onText(text.slice(shown, end));
    shown = Math.max(shown, end);
  };
  const take = (fresh: string): boolean => {
    text += fresh;
    const found = words.map((word) => text.indexOf(word, 0)).filter((at) => at >= 0);
    if (found.length > 0) {
      text = text.slice(0, Math.min(...found));
      isStopped = true;
      show(text.length);
      return true;
    }
    show(text.length - heldBack(text, words));
    return false;
  };
  return {
    /** True once a stop word has come. */
    push: (id: number): boolean => take(decoder.push(id)),
    finish(): string {
      // An answer cut off by its length may end within a character, of which nothing is shown.
      if (!isStopped) take(decoder.flush().replace(/\uFFFD+$/u, ""));
      show(text.length);
      return text;
    },
  };
}

/** How many last characters are the beginning of a stop word. */
function heldBack(text: string, words: readonly string[]): number {
  let most = 0;
  for (const word of words) {
    for (let length = Math.min(word.length - 1, text.length); length > most; length--) {
      if (text.endsWith(word.slice(0, length))) most = length;
    }
  }
  return most;
}
