// The run under way: what it has come to, told to the page, to other tabs and to its record.
//
// Nothing here may end a run: a page that is gone hears nothing, and a record that cannot be written is
// told as a warning and made true when it is read next.
import { messageOf } from "../base/error.ts";
import type { Pausing, StepReport, TrainEvent } from "../engine.ts";
import type { LiveEvent, RunRecord, RunStatus } from "./api.ts";
import { broadcast } from "./broadcast.ts";
import { EventBatch } from "./event-batch.ts";
import { toPage } from "./page-callback.ts";
import { finiteOrNull, findCheckpoints, findProgress } from "./run-record.ts";
import { changeRun, workFolder } from "./run-store.ts";

const BROADCAST_INTERVAL_MS = 1000;

export type OnEvents = (events: readonly LiveEvent[]) => unknown;

export class LiveRun {
  readonly id: string;
  readonly gate = new Gate();
  readonly #abort = new AbortController();
  readonly #batch: EventBatch<LiveEvent>;
  /** As it is to be written; undefined until it is read. */
  #record: RunRecord | undefined;
  /** Changes of the record, one after another. */
  #writing: Promise<void> = Promise.resolve();
  #lastBroadcastMs = Number.NEGATIVE_INFINITY;
  #lastStep: Pick<StepReport, "step" | "loss"> | undefined;
  #isGoingOn = false;
  /** Those who wait for a pause. */
  #onPaused: (() => void)[] = [];
  readonly #closed = new Latch();
  status: RunStatus = "running";
  step = 0;
  steps = 0;
  /** Checkpoints saved since the start. */
  saved = 0;

  constructor(id: string, onEvents: OnEvents) {
    this.id = id;
    this.#batch = new EventBatch(toPage(onEvents));
  }

  /** Its id, until its record is read. */
  get name(): string {
    return this.#record?.name ?? this.id;
  }

  /** Whether its record is read. */
  get hasBegun(): boolean {
    return this.#record !== undefined;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Whether it waits, and nobody has asked it to go on. */
  get lendsGpu(): boolean {
    return this.status === "paused" && this.gate.isPaused() && !this.#isGoingOn;
  }

  /** Resolves when it has ended, whatever ended it, and its locks are free. */
  get closed(): Promise<void> {
    return this.#closed.opened;
  }

  /** Resolves when the record says all that was noted so far, as far as it can be written. */
  get written(): Promise<void> {
    return this.#writing;
  }

  begin(record: RunRecord): void {
    this.#record = record;
    this.step = record.step;
    this.steps = record.steps;
    this.become("running");
  }

  /** Notes an event of the engine and passes it on. */
  take(event: TrainEvent): void {
    this.#batch.add(event);
    if (event.type === "plan") {
      this.step = event.plan.firstStep;
      this.steps = event.plan.steps;
      this.#write(() => ({ steps: event.plan.steps }));
    } else if (event.type === "step") {
      this.step = event.step;
      this.#lastStep = event;
      this.#broadcast();
    } else if (event.type === "checkpoint") {
      this.saved++;
      const { step } = event;
      const loss = this.#lastStep?.step === step ? this.#lastStep.loss : undefined;
      const finalLoss = finiteOrNull(loss);
      this.#write(async () => ({
        ...(await findCheckpoints(await workFolder(this.id))),
        step,
        finalLoss,
      }));
    } else if (event.type === "paused") this.become("paused");
    else if (event.type === "resumed") this.become("running");
  }

  recover(attempt: number, reason: string): void {
    this.#batch.add({ type: "recovering", attempt, reason });
  }

  /** A new status, everywhere. */
  become(status: RunStatus): void {
    this.status = status;
    this.#isGoingOn = false;
    this.#write(() => ({ status }));
    this.#announce();
    if (status === "paused") this.#tellPaused();
  }

  /** The last word: what the work directory says, and how it ended. Resolves when all is told. */
  async end(status: RunStatus, error: string | null): Promise<RunRecord | undefined> {
    const { steps } = this;
    this.#write(async () => {
      // Where that cannot be read, what the checkpoints' events said stands.
      const progress = await workFolder(this.id)
        .then(findProgress)
        .catch(() => ({}));
      return { ...progress, steps, status, error };
    });
    await this.#writing;
    this.status = status;
    this.step = this.#record?.step ?? this.step;
    this.#announce();
    await this.#batch.finish();
    return this.#record;
  }

  /** Resolves when it has saved and waits, is to go on after all, or has ended. */
  async pause(): Promise<void> {
    this.gate.close();
    if (this.status !== "paused" || this.#isGoingOn) {
      const paused = new Promise<void>((resolve) => this.#onPaused.push(resolve));
      await Promise.race([paused, this.closed]);
    }
    await this.#writing;
  }

  /** From now on nobody is lent the GPU; it goes on when `ready` is. */
  async goOn(ready: () => Promise<void>): Promise<void> {
    if (!this.gate.isPaused()) return;
    this.#isGoingOn = true;
    try {
      await ready();
      this.gate.open();
      this.#tellPaused();
    } catch (error) {
      this.#isGoingOn = false;
      throw error;
    }
  }

  stop(): void {
    this.#abort.abort();
    this.gate.open();
  }

  /** To be called when nothing of it is under way any more. */
  close(): void {
    this.#closed.open();
  }

  #tellPaused(): void {
    for (const resolve of this.#onPaused.splice(0)) resolve();
  }

  #announce(): void {
    this.#batch.add({ type: "status", status: this.status, step: this.step });
    this.#lastBroadcastMs = Number.NEGATIVE_INFINITY;
    this.#broadcast();
    // Whoever reads the list then finds what was noted before.
    void this.#writing.then(() => broadcast({ type: "changed", what: "runs" }));
  }

  #broadcast(): void {
    const now = performance.now();
    if (now - this.#lastBroadcastMs < BROADCAST_INTERVAL_MS) return;
    this.#lastBroadcastMs = now;
    const { id, name, status, step, steps } = this;
    broadcast({ type: "run", id, name, status, step, steps });
  }

  #write(change: () => Partial<RunRecord> | Promise<Partial<RunRecord>>): void {
    this.#writing = this.#writing
      .then(async () => {
        const changes = await change();
        if (this.#record) this.#record = { ...this.#record, ...changes };
        await changeRun(this.id, changes);
      })
      .catch((error: unknown) => {
        this.#batch.add({ type: "warning", message: messageOf(error) });
      });
  }
}

/** A promise that is kept when somebody says so. */
class Latch {
  open: () => void = () => {};
  readonly opened = new Promise<void>((resolve) => {
    this.open = resolve;
  });
}

/** Where a run waits while it is paused. */
class Gate implements Pausing {
  #closed: Latch | undefined;

  readonly isPaused = () => this.#closed !== undefined;
  readonly resumed = () => this.#closed?.opened ?? Promise.resolve();

  close(): void {
    this.#closed ??= new Latch();
  }

  open(): void {
    this.#closed?.open();
    this.#closed = undefined;
  }
}
