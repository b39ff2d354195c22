// The run under way: what it has come to, told to the page, to other tabs and to its record.
//
// Nothing here may end a run: a page that is gone hears nothing, and a record that cannot be written is
// told as a warning and made true when it is read next.
import { messageOf } from "../base/error.ts";
import type { Pausing, TrainEvent } from "../engine.ts";
import type { LiveEvent, RunRecord, RunStatus } from "./api.ts";
import { broadcast } from "./broadcast.ts";
import { EventBatch } from "./event-batch.ts";
import { toPage } from "./page-callback.ts";
import { findProgress } from "./run-record.ts";
import { changeRun, workFolder } from "./run-store.ts";

const BROADCAST_INTERVAL_MS = 1000;

export type OnEvents = (events: readonly LiveEvent[]) => unknown;

export class LiveRun {
  readonly id: string;
  readonly name: string;
  readonly gate = new Gate();
  readonly #abort = new AbortController();
  readonly #batch: EventBatch<LiveEvent>;
  /** Changes of the record, one after another. */
  #writing: Promise<void> = Promise.resolve();
  #lastBroadcastMs = Number.NEGATIVE_INFINITY;
  #onStatus: (() => void)[] = [];
  status: RunStatus = "running";
  step: number;
  steps: number;
  /** Checkpoints saved since the start. */
  saved = 0;

  constructor({ id, name, step, steps }: RunRecord, onEvents: OnEvents) {
    this.id = id;
    this.name = name;
    this.step = step;
    this.steps = steps;
    this.#batch = new EventBatch(toPage(onEvents));
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
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
      this.#broadcast();
    } else if (event.type === "checkpoint") {
      this.saved++;
      this.#write(async () => findProgress(await workFolder(this.id)));
    } else if (event.type === "paused") this.become("paused");
    else if (event.type === "resumed") this.become("running");
  }

  recover(attempt: number, reason: string): void {
    this.#batch.add({ type: "recovering", attempt, reason });
  }

  /** A new status, everywhere. */
  become(status: RunStatus): void {
    this.status = status;
    this.#write(() => ({ status }));
    this.#announce();
  }

  /** The last word: what the work directory says, and how it ended. Resolves when all is told. */
  async end(status: RunStatus, error: string | null): Promise<RunRecord> {
    await this.#writing;
    const progress = await findProgress(await workFolder(this.id));
    const record = await changeRun(this.id, { ...progress, steps: this.steps, status, error });
    this.status = status;
    this.step = record.step;
    this.#announce();
    await this.#batch.finish();
    return record;
  }

  stop(): void {
    this.#abort.abort();
    this.gate.open();
  }

  /** Resolves at the next change of status. */
  nextStatus(): Promise<void> {
    return new Promise((resolve) => this.#onStatus.push(resolve));
  }

  #announce(): void {
    this.#batch.add({ type: "status", status: this.status, step: this.step });
    this.#lastBroadcastMs = Number.NEGATIVE_INFINITY;
    this.#broadcast();
    broadcast({ type: "changed", what: "runs" });
    for (const resolve of this.#onStatus.splice(0)) resolve();
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
        await changeRun(this.id, await change());
      })
      .catch((error: unknown) => {
        this.#batch.add({ type: "warning", message: messageOf(error) });
      });
  }
}

/** Where a run waits while it is paused. */
class Gate implements Pausing {
  #opened: Promise<void> | undefined;
  #open: () => void = () => {};

  readonly isPaused = () => this.#opened !== undefined;
  readonly resumed = () => this.#opened ?? Promise.resolve();

  close(): void {
    this.#opened ??= new Promise((resolve) => {
      this.#open = resolve;
    });
  }

  open(): void {
    this.#opened = undefined;
    this.#open();
  }
}
