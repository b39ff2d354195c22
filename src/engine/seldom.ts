// Progress as often as anybody can follow it: what is told in every loop turn is a flood for who listens.

const EVERY_MS = 100;

export interface Seldom<Told extends unknown[]> {
  /** Passes on the first, and then at most one in EVERY_MS. */
  readonly tell: (...told: Told) => void;
  /** Passes on the last, if it was held back. */
  readonly end: () => void;
}

/** `now` is in milliseconds. */
export function seldom<Told extends unknown[]>(
  listener: (...told: Told) => void,
  now: () => number = () => performance.now(),
): Seldom<Told> {
  let next = Number.NEGATIVE_INFINITY;
  let held: Told | undefined;
  return {
    tell(...told) {
      const at = now();
      held = at < next ? told : undefined;
      if (held) return;
      next = at + EVERY_MS;
      listener(...told);
    },
    end() {
      if (held) listener(...held);
      held = undefined;
    },
  };
}
