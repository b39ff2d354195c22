// The one model that can be talked to: opened, asked, stopped, closed, and opened again when the GPU was lost.
//
// What is asked is done one after another. A model that is open is never removed from storage: its lock is held.
import { UserError } from "../base/error.ts";
import type { Folder } from "../base/folder.ts";
import type { Chat, ChatReply, Engine, LoadRequest, Message, PieceInfo } from "../engine.ts";
import type { AdapterRef, ChatInfo, ChatPiece, OpenChatRequest, ReplyRequest } from "./api.ts";
import { isAborted, isDeviceLost } from "./faults.ts";
import { modelLock, type Release, takeLocks } from "./locks.ts";
import { noteUse } from "./model-use.ts";
import { checkpointFolder } from "./run-store.ts";
import { modelFolder } from "./storage.ts";

interface LoadedChat {
  readonly request: OpenChatRequest;
  readonly chat: Chat;
  readonly info: ChatInfo;
  readonly release: Release;
}

/** Who is told how far a model is. */
type Listener = Pick<LoadRequest, "onProgress" | "onTrying">;

export class ChatService {
  readonly #engine: Engine;
  /** Throws where the GPU belongs to a run. */
  readonly #refuseBusy: () => Promise<void>;
  /** What was asked for last; it stays when the GPU takes the model away. */
  #request: OpenChatRequest | undefined;
  #loaded: LoadedChat | undefined;
  #queue: Promise<unknown> = Promise.resolve();
  /** Of all that is under way or waits for its turn. */
  readonly #aborts = new Set<AbortController>();

  constructor(engine: Engine, refuseBusy: () => Promise<void>) {
    this.#engine = engine;
    this.#refuseBusy = refuseBusy;
  }

  /** Opens what is asked for in place of what is open, or keeps it where that is the same. */
  async open(request: OpenChatRequest, listener: Listener): Promise<ChatInfo> {
    if (this.#request && !isSame(this.#request, request)) this.stop();
    this.#request = request;
    return this.#inTurn(async (signal) => {
      await this.#refuseBusy();
      return (await this.#ensure(request, listener, signal)).info;
    });
  }

  async reply(request: ReplyRequest, onPiece: (piece: ChatPiece) => void): Promise<ChatReply> {
    let isSpoken = false;
    const say = (text: string, { probability }: PieceInfo) => {
      isSpoken = true;
      onPiece({ text, probability });
    };
    return this.#inTurn(async (signal) => {
      await this.#refuseBusy();
      if (signal.aborted) return NOTHING_SAID;
      const use = (chat: Chat) => {
        chat.setAdapterScale(request.adapterScale);
        return chat.reply(request.messages, request.sampling, say, signal);
      };
      return this.#withChat(signal, () => isSpoken, use).catch((error: unknown) => {
        // Stopped while the model was loaded again.
        if (signal.aborted && isAborted(error)) return NOTHING_SAID;
        throw error;
      });
    });
  }

  /** Logits of the answer's first token, of a model opened as for a chat. */
  async firstLogits(request: OpenChatRequest, messages: readonly Message[]): Promise<Float32Array> {
    await this.open(request, {});
    const use = (chat: Chat) => {
      chat.setAdapterScale(1);
      return chat.logits(messages);
    };
    return this.#inTurn((signal) => this.#withChat(signal, () => false, use));
  }

  /** Ends what is under way and what waits. */
  stop(): void {
    for (const abort of this.#aborts) abort.abort();
  }

  async close(): Promise<void> {
    this.stop();
    this.#request = undefined;
    // A failure of what came before was told to who asked for it.
    await this.#inTurn(() => Promise.resolve(this.#free()));
  }

  /** Runs `action` when all that was asked before is done. */
  #inTurn<T>(action: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const abort = new AbortController();
    this.#aborts.add(abort);
    const turn = this.#queue.then(() => action(abort.signal));
    const end = () => {
      this.#aborts.delete(abort);
    };
    this.#queue = turn.then(end, end);
    return turn;
  }

  /**
   * Uses the open model. Where the GPU was lost since, or is lost before anybody has seen a part of the
   * result, the model is loaded again, once; later it is loaded at the next use.
   */
  async #withChat<T>(
    signal: AbortSignal,
    isShown: () => boolean,
    use: (chat: Chat) => Promise<T>,
  ): Promise<T> {
    const request = this.#request;
    if (!request) throw new UserError("No model is open to talk to.", "Choose one first.");
    const ensure = () => this.#ensure(request, {}, signal);
    try {
      return await use((await ensure()).chat);
    } catch (error) {
      if (!isDeviceLost(error)) throw error;
      this.#free();
      if (isShown()) throw error;
    }
    return use((await ensure()).chat);
  }

  async #ensure(
    request: OpenChatRequest,
    listener: Listener,
    signal: AbortSignal,
  ): Promise<LoadedChat> {
    if (this.#loaded && isSame(this.#loaded.request, request)) return this.#loaded;
    this.#free();
    this.#loaded = await this.#load(request, listener, signal);
    return this.#loaded;
  }

  async #load(
    request: OpenChatRequest,
    listener: Listener,
    signal: AbortSignal,
  ): Promise<LoadedChat> {
    const { modelId, adapter, quantization, kvCache, contextTokens, promptTemplate } = request;
    const ids = [modelId, ...(adapter?.kind === "imported" ? [adapter.adapterId] : [])];
    // Ended by the signal too: somebody may be writing that model for minutes.
    const release = await takeLocks(ids.map(modelLock), { mode: "shared", signal });
    try {
      const chat = await this.#engine.openChat({
        model: await modelFolder(modelId),
        quantization,
        kvCache: kvCache ?? "auto",
        contextTokens,
        ...listener,
        signal,
        ...(adapter && { adapter: await adapterFolder(adapter) }),
        ...(promptTemplate !== undefined && { promptTemplate }),
      });
      for (const id of ids) await noteUse(id);
      const { template, system } = chat;
      return {
        request,
        chat,
        info: { template, system, hasAdapter: adapter !== undefined, contextTokens },
        release,
      };
    } catch (error) {
      release();
      throw error;
    }
  }

  #free(): void {
    this.#loaded?.chat.close();
    this.#loaded?.release();
    this.#loaded = undefined;
  }
}

const NOTHING_SAID: ChatReply = {
  text: "",
  tokens: 0,
  promptTokens: 0,
  endedBy: "aborted",
  tokensPerSecond: 0,
};

function adapterFolder(adapter: AdapterRef): Promise<Folder> {
  return adapter.kind === "run"
    ? checkpointFolder(adapter.runId, adapter.checkpoint)
    : modelFolder(adapter.adapterId);
}

function isSame(a: OpenChatRequest, b: OpenChatRequest): boolean {
  return keyOf(a) === keyOf(b);
}

/** The request as a text that does not depend on the order of its fields. */
function keyOf({
  modelId,
  adapter,
  quantization,
  kvCache = "auto",
  contextTokens,
  promptTemplate,
}: OpenChatRequest): string {
  const adapterKey =
    adapter?.kind === "run" ? [adapter.runId, adapter.checkpoint] : [adapter?.adapterId];
  return JSON.stringify([
    modelId,
    adapterKey,
    quantization,
    kvCache,
    contextTokens,
    promptTemplate,
  ]);
}
