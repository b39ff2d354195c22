// A bounded memory of what was asked for last: text repeats itself, and so do rows of data.
//
// Two generations: when the young one is full it becomes the old one, and what the old one still held is
// forgotten. So nothing has to be put in order, and forgetting costs nothing.

export class Recent<T> {
  readonly #entries: number;
  #young = new Map<string, T>();
  #old = new Map<string, T>();

  /** Holds the last `entries` keys asked for, and up to as many more. */
  constructor(entries: number) {
    this.#entries = entries;
  }

  find(key: string): T | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.keep(key, old);
    return old;
  }

  keep(key: string, value: T): void {
    if (this.#young.size >= this.#entries) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, value);
  }
}
