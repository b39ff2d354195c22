// The run under way in this tab, or in another one.
import { createEffect, createMemo, createSignal, onCleanup } from "solid-js";
import { messageOf } from "../base/error.ts";
import type { LiveEvent, NewRun, RunRecord } from "../services/api.ts";
import type { Broadcast } from "../services/broadcast.ts";
import { listenForChanges } from "./changes.ts";
import { LiveReport } from "./live-report.ts";
import { isUnderWay } from "./run-library.ts";
import type { SliceContext } from "./session.ts";
import { readSetting, writeSetting } from "./settings.ts";
import { createWakeLock, type WakeState } from "./wake-lock.ts";
import { callback } from "./workers.ts";

export interface LiveSlice {
  /** The run shown on the Live screen: the one under way, else the last one. */
  readonly record: () => RunRecord | undefined;
  /** Whether a run of this tab is under way, paused ones too. */
  readonly isRunning: () => boolean;
  /** The name of the run that another tab trains. */
  readonly elsewhere: () => string | undefined;
  /** How far that one is. */
  readonly otherRun: () => OtherRun | undefined;
  /** Makes a run, goes to the Live screen and starts it. Resolves when it is on its way. */
  startNew(run: NewRun): Promise<void>;
  /** Goes on with an earlier run. */
  continueRun(id: string): Promise<void>;
  /** Called once when the page opens: a run that was cut off goes on by itself. */
  restore(): Promise<void>;
  /** Shows an earlier run, without starting it. Does nothing while one is under way. */
  show(id: string): Promise<void>;
  /** What the shown run has come to. The object stays and grows; reading it here is told of that. */
  readonly report: () => LiveReport;
  /** The two lines of what ended the run, or kept it from starting. */
  readonly error: () => string | undefined;
  /** It was cut off, and this page went on with it by itself. */
  readonly wasRestored: () => boolean;
  /** What was asked of the run and is not done yet. */
  readonly asked: () => "pause" | "resume" | "stop" | undefined;
  pause(): Promise<void>;
  resume(): Promise<void>;
  stop(): Promise<void>;
  /** Milliseconds that it has been under way since it was started here, without pauses. */
  readonly elapsedMs: () => number;
  /** Whether the screen is to stay on while it runs; kept over visits. */
  readonly keepsAwake: () => boolean;
  setKeepsAwake(keepsAwake: boolean): void;
  readonly wakeState: () => WakeState;
}

export type OtherRun = Pick<RunRecord, "id" | "name" | "status" | "step" | "steps">;

// A page that was just opened may still see the run of the page before it; later, that is another tab's.
const RELOAD_MS = 10_000;
const LOOK_AGAIN_MS = 1000;

// A run that crashes the page each time it is continued must not do so forever.
const MOST_RESTORES = 3;

export function createLiveSlice(context: SliceContext): LiveSlice {
  const shown = createShownRun(context);
  const { record, isRunning } = shown;
  // The record changes with every batch of events; this does not.
  const isTraining = createMemo(() => isRunning() && record()?.status === "running");
  const [keepsAwake, setKeepsAwake] = createSignal(
    readSetting("awake", (value) => value !== false),
  );
  const elsewhere = createElsewhere(context, isRunning);
  const start = createStarter(context, shown);
  const [wasRestored, setWasRestored] = createSignal(false);

  const restore = async (until = performance.now() + RELOAD_MS): Promise<void> => {
    const { runs } = context.session();
    const cutOff = runs.list().find(({ status }) => status === "interrupted");
    if (cutOff) {
      if (!mayRestore(cutOff)) {
        const { title, remedy } = context.app.text().live.run.restoredTooOften;
        context.app.tell("info", title(cutOff.name), remedy);
        return;
      }
      setWasRestored(true);
      await start.again(cutOff.id);
      return;
    }
    const other = runs.list().find(({ status }) => isUnderWay(status));
    if (!other) return;
    elsewhere.see(other);
    if (performance.now() > until || isRunning()) return;
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
    await runs.refresh();
    await restore(until);
  };
  guardPage(context, shown);
  followOtherTab(context, shown);
  // A page that is left in order did not crash.
  addEventListener("pagehide", () => writeSetting("restored", null));
  return {
    ...shown.controls,
    record,
    isRunning,
    elsewhere: () => elsewhere.run()?.name,
    otherRun: elsewhere.run,
    async startNew(run) {
      setWasRestored(false);
      await start.anew(run);
    },
    async continueRun(id) {
      setWasRestored(false);
      await start.again(id);
    },
    restore: () => restore(),
    show: (id) => shown.show(id),
    report: shown.report,
    error: shown.error,
    wasRestored,
    elapsedMs: createStopwatch(isTraining, record),
    keepsAwake,
    setKeepsAwake(value) {
      setKeepsAwake(value);
      writeSetting("awake", value);
    },
    wakeState: createWakeLock(() => keepsAwake() && isTraining()),
  };
}

type ShownRun = ReturnType<typeof createShownRun>;

/** The run on the screen: its record, report and error, and what can be asked of it. */
function createShownRun({ workers, app, session }: SliceContext) {
  const [record, setRecord] = createSignal<RunRecord>();
  // One object that grows: every batch of events is told, whatever it changed.
  const [report, setReport] = createSignal(new LiveReport(), { equals: false });
  const [error, setError] = createSignal<string>();
  const [isRunning, setIsRunning] = createSignal(false);
  const [asked, setAsked] = createSignal<"pause" | "resume" | "stop">();

  const change = (changes: Partial<RunRecord>) =>
    setRecord((known) => known && { ...known, ...changes });
  const ask = async (what: "pause" | "resume" | "stop", action: () => Promise<void>) => {
    setAsked(what);
    await app.attempt(action);
    setAsked(undefined);
  };
  /** Its record as it is now, and all that happened in it before. */
  const open = async (id: string) => {
    await session().runs.refresh();
    const found = session()
      .runs.list()
      .find((run) => run.id === id);
    if (!found) return undefined;
    const fresh = new LiveReport();
    if (found.status !== "new") fresh.join(await workers.engine.readHistory(id));
    fresh.checkpoints = found.checkpoints.map((name) => ({ step: stepOf(name), name }));
    setRecord({ ...found });
    setReport(fresh);
    setError(found.error ?? undefined);
    return found;
  };
  return {
    record,
    report,
    error,
    setError,
    isRunning,
    setIsRunning,
    open,
    change,
    async show(id: string) {
      if (!isRunning()) await app.attempt(() => open(id));
    },
    take(events: readonly LiveEvent[]) {
      const known = report();
      for (const event of events) {
        known.take(event);
        if (event.type === "status") change({ status: event.status, step: event.step });
        if (event.type === "plan") change({ steps: event.plan.steps });
        if (event.type === "checkpoint") change({ checkpoint: event.name });
      }
      const { latest } = known;
      if (latest && known.isFresh) change({ step: latest.step });
      setReport(known);
    },
    controls: {
      asked,
      pause: () => ask("pause", () => workers.engine.pauseRun()),
      resume: () => ask("resume", () => workers.engine.resumeRun()),
      stop: () => ask("stop", () => workers.engine.stopRun()),
    },
  };
}

function createStarter({ workers, app, session }: SliceContext, shown: ShownRun) {
  const begin = async (id: string) => {
    if (shown.isRunning()) return;
    shown.setIsRunning(true);
    app.go("live");
    const record = await app.attempt(() => shown.open(id));
    if (!record) {
      shown.setIsRunning(false);
      return;
    }
    shown.setError(undefined);
    shown.change({ status: "running" });
    // Not waited for: it ends when the run does.
    void workers.engine
      .startRun(
        id,
        callback((events: readonly LiveEvent[]) => shown.take(events)),
      )
      .catch((error: unknown) => shown.setError(messageOf(error)))
      .then(async () => {
        shown.setIsRunning(false);
        await app.attempt(() => session().runs.refresh());
        const ended = session()
          .runs.list()
          .find((run) => run.id === id);
        if (ended) shown.change(ended);
      });
  };
  return {
    again: begin,
    async anew(run: NewRun) {
      const made = await app.attempt(() => workers.engine.createRun(run));
      if (made) await begin(made.id);
    },
  };
}

/** The run of another tab, as it tells itself; forgotten when its locks are gone. */
function createElsewhere({ app, session }: SliceContext, isRunning: () => boolean) {
  const [run, setRun] = createSignal<OtherRun>();
  onCleanup(
    listenForChanges((message: Broadcast) => {
      if (message.type !== "run" || isRunning()) return;
      const { id, name, status, step, steps } = message;
      if (isUnderWay(status)) setRun({ id, name, status, step, steps });
      else if (run()?.id === id) setRun(undefined);
    }),
  );
  // A tab that was closed or crashed says nothing any more.
  createEffect(() => {
    if (!run()) return;
    const timer = setInterval(() => {
      void app.attempt(async () => {
        const { held = [] } = await navigator.locks.query();
        if (held.some(({ name }) => name === "hone-run")) return;
        setRun(undefined);
        await session().runs.refresh();
      });
    }, 3000);
    onCleanup(() => clearInterval(timer));
  });
  return {
    run: createMemo(() => (isRunning() ? undefined : run())),
    see: ({ id, name, status, step, steps }: RunRecord) =>
      setRun({ id, name, status, step, steps }),
  };
}

/** A run of another tab that is shown here is read again when it has ended there, in whatever way. */
function followOtherTab({ session }: SliceContext, shown: ShownRun): void {
  createEffect(() => {
    const known = shown.record();
    const told = session()
      .runs.list()
      .find(({ id }) => id === known?.id);
    if (!known || !told || shown.isRunning() || !isUnderWay(known.status)) return;
    if (told.status !== known.status) void shown.show(told.id);
  });
}

/** The title tells how far it is, and leaving is asked about while it runs. */
function guardPage({ app }: SliceContext, { record, isRunning }: ShownRun): void {
  createEffect(() => {
    const run = record();
    const screen = app.text().app.screens[app.route().name];
    if (!run || !isRunning()) return;
    const percent = run.steps > 0 ? Math.floor((100 * run.step) / run.steps) : 0;
    const title = app.text().live.run.title(percent, run.status === "paused", screen);
    // After the page's own title, which is set for a new screen.
    queueMicrotask(() => {
      document.title = title;
    });
    onCleanup(() => {
      document.title = `${app.text().app.screens[app.route().name]} · Hone`;
    });
  });
  createEffect(() => {
    if (!isRunning()) return;
    addEventListener("beforeunload", askToStay);
    onCleanup(() => removeEventListener("beforeunload", askToStay));
  });
}

function askToStay(event: BeforeUnloadEvent): void {
  event.preventDefault();
}

/** Counts while `isOn`, a second at a time; from 0 again for another run. */
function createStopwatch(isOn: () => boolean, record: () => RunRecord | undefined): () => number {
  const [elapsed, setElapsed] = createSignal(0);
  const id = createMemo(() => record()?.id);
  createEffect(() => {
    id();
    setElapsed(0);
  });
  createEffect(() => {
    if (!isOn()) return;
    let last = Date.now();
    const timer = setInterval(() => {
      const now = Date.now();
      setElapsed((before) => before + now - last);
      last = now;
    }, 1000);
    onCleanup(() => clearInterval(timer));
  });
  return elapsed;
}

/** Counts how often a run was gone on with at one step, by pages that then crashed. */
function mayRestore({ id, step }: RunRecord): boolean {
  const kept = readSetting("restored", (value) => (isRestored(value) ? value : undefined));
  const times = kept?.id === id && kept.step === step ? kept.times + 1 : 1;
  writeSetting("restored", { id, step, times });
  return times <= MOST_RESTORES;
}

function isRestored(
  value: unknown,
): value is { readonly id: string; readonly step: number; readonly times: number } {
  return typeof value === "object" && value !== null && "id" in value && "times" in value;
}

/** "iter_30" → 30. */
function stepOf(checkpoint: string): number {
  return Number(/\d+/.exec(checkpoint)?.[0] ?? 0);
}
