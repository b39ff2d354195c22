// Events on their way to the page: several at a time, so that a fast run does not flood it.

const INTERVAL_MS = 100;

/** Keeps order, drops nothing, and posts at most once in `INTERVAL_MS`. */
export class EventBatch<Event> {
  readonly #post: (events: readonly Event[]) => void;
  #waiting: Event[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #lastPostMs = Number.NEGATIVE_INFINITY;
  /** Who waits for the post that is due. */
  #onPosted: (() => void)[] = [];

  constructor(post: (events: readonly Event[]) => void) {
    this.#post = post;
  }

  add(event: Event): void {
    this.#waiting.push(event);
    if (this.#timer !== undefined) return;
    // Timers take whole milliseconds, and would be early.
    const waitMs = Math.ceil(this.#lastPostMs + INTERVAL_MS - performance.now());
    this.#timer = setTimeout(() => this.#flush(), Math.max(0, waitMs));
  }

  /** Resolves when all that was added is posted. */
  finish(): Promise<void> {
    if (this.#timer === undefined) return Promise.resolve();
    return new Promise((resolve) => this.#onPosted.push(resolve));
  }

  #flush(): void {
    this.#timer = undefined;
    this.#lastPostMs = performance.now();
    this.#post(this.#waiting);
    this.#waiting = [];
    for (const resolve of this.#onPosted.splice(0)) resolve();
  }
}
