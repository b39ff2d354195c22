// How many tokens to have on the way at a time, from how long they take.
//
// The GPU should never wait for the host to look at a token, and the person should see tokens come one by
// one: so tokens are read in batches of some milliseconds, and the next batch is on the GPU meanwhile. What
// is on the way when the answer ends was computed in vain, so a slow GPU gets one token at a time.

/** Work read back at a time. A screen shows some sixty pictures a second; more often helps nobody. */
const BATCH_MS = 16;

/** The most that may be computed in vain. A token that takes half of this waits for the one before it. */
const AHEAD_MS = 50;

/** Tokens of a batch at most; two batches are under way. */
export const MOST_PER_BATCH = 16;

export interface Flight {
  /** Tokens of a batch. */
  readonly tokens: number;
  /** Batches under way at a time. */
  readonly batches: number;
}

export class Pace {
  #msPerToken: number | undefined;

  /** The time of a token, as far as it is known. */
  get secondsPerToken(): number | undefined {
    return this.#msPerToken === undefined ? undefined : this.#msPerToken / 1000;
  }

  /** What to have on the way now. One token, until it is known how long one takes. */
  get flight(): Flight {
    const ms = this.#msPerToken;
    if (ms === undefined || 2 * ms > AHEAD_MS) return { tokens: 1, batches: 1 };
    const tokens = Math.floor(BATCH_MS / Math.max(ms, 0.001));
    return { tokens: Math.min(MOST_PER_BATCH, Math.max(1, tokens)), batches: 2 };
  }

  /** Tells that `tokens` came `ms` after those before them. */
  learn(tokens: number, ms: number): void {
    const measured = ms / tokens;
    // The first in full; later ones by and by, since one that was held up says little.
    const share = this.#msPerToken === undefined ? 1 : 0.3;
    this.#msPerToken = (1 - share) * (this.#msPerToken ?? 0) + share * measured;
  }
}
