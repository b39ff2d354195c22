// The conversation on the Try screen: what is talked to, what was said, and how answers are drawn.
import { batch, createEffect, createMemo, createSignal } from "solid-js";
import { createStore, produce } from "solid-js/store";
import { messageOf } from "../base/error.ts";
import type {
  AdapterRef,
  ChatInfo,
  ChatPiece,
  OpenChatRequest,
  TryingProgress,
} from "../services/api.ts";
import { type ChatSettings, createChatSettings } from "./chat-settings.ts";
import { messagesFor, type Reply, type Side, SIDES, type Turn, WAITING } from "./conversation.ts";
import type { SliceContext } from "./session.ts";
import { createSharedAdapter, type SharedAdapter } from "./shared-adapter.ts";
import { callback } from "./workers.ts";

/** Which of the two answer. */
export type Mode = "both" | Side;

export interface Choice {
  readonly modelId: string;
  readonly adapter: AdapterRef | undefined;
  readonly quantization: "nf4" | "none";
  /** How what was said is kept on the GPU; stays when something else is chosen to talk to. */
  readonly kvCache: NonNullable<OpenChatRequest["kvCache"]>;
}

/** How far the model is on its way to the GPU. */
export interface Opening {
  readonly bytes: number;
  readonly totalBytes: number;
  /** While kernel variants are tried, which comes first. */
  readonly trying?: TryingProgress;
}

/** `stale`: what is loaded is not what is chosen. */
export type ChatState = "closed" | "opening" | "open" | "stale" | "failed";

export interface TrySlice {
  /** Chooses what to talk to and goes to the screen. */
  choose(modelId: string, adapter: AdapterRef | undefined): void;
  readonly choice: () => Choice | undefined;
  setChoice(choice: Choice): void;
  readonly state: () => ChatState;
  readonly opening: () => Opening;
  /** The two lines of why it could not be opened. */
  readonly problem: () => string | undefined;
  readonly info: () => ChatInfo | undefined;
  /** Loads what is chosen. */
  open(): Promise<void>;
  /** Frees its memory. */
  close(): Promise<void>;
  readonly mode: () => Mode;
  setMode(mode: Mode): void;
  readonly system: () => string;
  setSystem(system: string): void;
  readonly settings: ChatSettings;
  set(name: keyof ChatSettings, value: number): void;
  resetSettings(): void;
  readonly turns: readonly Turn[];
  readonly isReplying: () => boolean;
  send(question: string): Promise<void>;
  stop(): Promise<void>;
  /** Asks the last question again, with the next seed. */
  retry(): Promise<void>;
  clear(): void;
  /** What a share link in the address names. */
  readonly shared: SharedAdapter;
}

// As training with it costs; longer conversations take more memory for little here.
const CONTEXT_TOKENS = 2048;

// Pieces come faster than anybody reads; they are shown a few at a time.
const SHOW_MS = 50;

export function createTrySlice(context: SliceContext): TrySlice {
  const { app } = context;
  const loaded = createLoadedChat(context);
  const [system, setSystem] = createSignal("");
  const [mode, setMode] = createSignal<Mode>("both");
  const drawing = createChatSettings();
  const talk = createTalk(context, {
    settings: drawing.settings,
    system,
    sides: () => sidesOf(mode(), loaded.info()),
    ensure: () => loaded.ensure(),
  });
  const open = async () => {
    const info = await loaded.open();
    if (info && talk.turns.length === 0) setSystem(info.system);
  };
  const choose = (modelId: string, adapter: AdapterRef | undefined) => {
    const quantization = quantizationFor(context, adapter);
    const kvCache = loaded.choice()?.kvCache ?? "auto";
    loaded.setChoice({ modelId, adapter, quantization, kvCache });
    talk.clear();
    app.go("try");
    void open();
  };
  return {
    ...loaded,
    ...talk,
    open,
    choose,
    shared: createSharedAdapter(context, choose),
    mode,
    setMode,
    system,
    setSystem,
    settings: drawing.settings,
    set: (name, value) => drawing.set(name, value),
    resetSettings: () => drawing.reset(),
  };
}

/** As the run trained it; NF4 for what is only imported, which fits where training would. */
function quantizationFor(
  { session }: SliceContext,
  adapter: AdapterRef | undefined,
): Choice["quantization"] {
  if (adapter?.kind !== "run") return "nf4";
  const run = session()
    .runs.list()
    .find(({ id }) => id === adapter.runId);
  return run?.config.quantization ?? "nf4";
}

function createLoadedChat({ workers, session }: SliceContext) {
  const [choice, setChoice] = createSignal<Choice>();
  const [opened, setOpened] = createSignal<Choice>();
  const [isOpening, setIsOpening] = createSignal(false);
  const [opening, setOpening] = createSignal(BEGUN);
  const [problem, setProblem] = createSignal<string>();
  const [info, setInfo] = createSignal<ChatInfo>();
  // A run takes the whole GPU; what was said stays to be read.
  createEffect(() => {
    if (session().live.isRunning()) setOpened(undefined);
  });
  const load = async (wanted: Choice): Promise<ChatInfo> => {
    let isOver = false; // what is told of it may come after its end
    const show = (now: Opening) => {
      if (isOver) return;
      batch(() => {
        setIsOpening(true);
        setOpening(now);
      });
    };
    try {
      return await workers.engine.openChat(
        requestFor(wanted),
        callback((bytes: number, totalBytes: number) => show({ bytes, totalBytes })),
        callback((trying: TryingProgress) =>
          show(trying.done < trying.total ? { ...BEGUN, trying } : BEGUN),
        ),
      );
    } finally {
      isOver = true;
    }
  };
  const state = createMemo((): ChatState => {
    if (isOpening()) return "opening";
    if (problem() !== undefined) return "failed";
    if (!opened()) return "closed";
    return isSame(opened(), choice()) ? "open" : "stale";
  });
  return {
    choice,
    setChoice(next: Choice) {
      setProblem(undefined);
      setChoice(next);
    },
    state,
    opening,
    problem,
    info,
    async open(): Promise<ChatInfo | undefined> {
      const wanted = choice();
      if (!wanted) return undefined;
      batch(() => {
        setIsOpening(true);
        setProblem(undefined);
        setOpening(BEGUN);
      });
      try {
        const told = await load(wanted);
        // Something else was chosen meanwhile: that one's opening tells the end.
        if (!isSame(wanted, choice())) return undefined;
        batch(() => {
          setOpened(wanted);
          setInfo(told);
          setIsOpening(false);
        });
        return told;
      } catch (error) {
        if (!isSame(wanted, choice())) return undefined;
        batch(() => {
          setOpened(undefined);
          setProblem(messageOf(error));
          setIsOpening(false);
        });
        return undefined;
      }
    },
    /** Loads it again where something else has taken the GPU since; false where that cannot be. */
    async ensure(): Promise<boolean> {
      const wanted = opened();
      if (!wanted) return false;
      try {
        await load(wanted);
        return true;
      } catch (error) {
        setOpened(undefined);
        setProblem(messageOf(error));
        return false;
      } finally {
        setIsOpening(false);
      }
    },
    async close() {
      await workers.engine.closeChat();
      batch(() => {
        setOpened(undefined);
        setInfo(undefined);
      });
    },
  };
}

const BEGUN: Opening = { bytes: 0, totalBytes: 0 };

function requestFor({ adapter, ...chosen }: Choice): OpenChatRequest {
  return { ...chosen, contextTokens: CONTEXT_TOKENS, ...(adapter && { adapter }) };
}

interface TalkParts {
  readonly settings: ChatSettings;
  readonly system: () => string;
  readonly sides: () => readonly Side[];
  readonly ensure: () => Promise<boolean>;
}

function createTalk({ workers }: SliceContext, { settings, system, sides, ensure }: TalkParts) {
  const [turns, setTurns] = createStore<Turn[]>([]);
  const [isReplying, setIsReplying] = createSignal(false);
  let lastId = 0;
  let isStopped = false;

  const put = (id: number, side: Side, reply: Partial<Reply>) =>
    setTurns(
      (turn) => turn.id === id,
      produce((turn: { replies: Partial<Record<Side, Reply>> }) => {
        turn.replies = { ...turn.replies, [side]: { ...WAITING, ...turn.replies[side], ...reply } };
      }),
    );
  const replyFrom = async (side: Side, turn: Turn) => {
    const show = createShower((pieces) =>
      put(turn.id, side, { state: "writing", pieces, text: textOf(pieces) }),
    );
    try {
      const { adapterScale, ...sampling } = settings;
      const request = {
        messages: messagesFor(side, system(), turns),
        sampling: { ...sampling, seed: (settings.seed + turn.attempt) % 2 ** 32, stopWords: [] },
        adapterScale: side === "base" ? 0 : adapterScale,
      };
      const { text, tokens, tokensPerSecond, endedBy } = await workers.engine.reply(
        request,
        callback((piece: ChatPiece) => show.take(piece)),
      );
      show.finish();
      put(turn.id, side, {
        state: endedBy === "aborted" ? "stopped" : "done",
        text,
        speed: { tokens, tokensPerSecond },
        isCut: endedBy === "length",
      });
    } catch (error) {
      show.finish();
      put(turn.id, side, { state: "failed", error: messageOf(error) });
    }
  };
  const answer = async (turn: Turn) => {
    setIsReplying(true);
    isStopped = !(await ensure());
    // One model is loaded: its two sides answer one after the other.
    for (const side of sides()) {
      if (isStopped || !turns.some(({ id }) => id === turn.id)) break;
      await replyFrom(side, turn);
    }
    for (const side of SIDES) {
      const reply = turns.find(({ id }) => id === turn.id)?.replies[side];
      if (reply?.state === "waiting") put(turn.id, side, { state: "stopped" });
    }
    setIsReplying(false);
  };
  const begin = (question: string, attempt: number) => {
    const replies = Object.fromEntries(sides().map((side) => [side, WAITING]));
    const turn: Turn = { id: ++lastId, question, replies, attempt };
    setTurns(turns.length, turn);
    return answer(turn);
  };
  const stop = async () => {
    isStopped = true;
    await workers.engine.stopReply();
  };
  return {
    turns,
    isReplying,
    stop,
    async send(question: string) {
      if (!isReplying() && question.trim() !== "") await begin(question, 0);
    },
    async retry() {
      const last = turns.at(-1);
      if (!last || isReplying()) return;
      setTurns(turns.slice(0, -1));
      await begin(last.question, last.attempt + 1);
    },
    clear() {
      if (isReplying()) void stop();
      setTurns([]);
    },
  };
}

/** Hands on all pieces so far, a few at a time. */
function createShower(show: (pieces: readonly ChatPiece[]) => void) {
  const pieces: ChatPiece[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;
  const showNow = () => {
    timer = undefined;
    show([...pieces]);
  };
  return {
    take(piece: ChatPiece) {
      pieces.push(piece);
      timer ??= setTimeout(showNow, SHOW_MS);
    },
    finish() {
      if (timer !== undefined) clearTimeout(timer);
      if (pieces.length > 0) showNow();
    },
  };
}

function sidesOf(mode: Mode, info: ChatInfo | undefined): readonly Side[] {
  if (info?.hasAdapter !== true) return ["base"];
  return mode === "both" ? SIDES : [mode];
}

function textOf(pieces: readonly ChatPiece[]): string {
  return pieces.map(({ text }) => text).join("");
}

function isSame(a: Choice | undefined, b: Choice | undefined): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
