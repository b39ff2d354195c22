// Where transients lie: each gets a slot of the arena for as long as it is needed, and no longer.
//
// A program is a fixed list of dispatches, so every lifetime is known before the first run. A slot is
// a whole GPUBuffer, not a range of one: WebGPU forbids one buffer as input and output of one
// dispatch even where the ranges are apart.

export interface Lifetime {
  readonly bytes: number;
  /** Index of the first and last dispatch that touches it. */
  readonly first: number;
  readonly last: number;
}

export interface Plan {
  /** The slot of each lifetime, in the order given. */
  readonly slots: readonly number[];
  readonly slotBytes: readonly number[];
}

/**
 * Greedy by time: at its first use a tensor takes the free slot that fits it most tightly, else the
 * largest free slot is grown to hold it, else a new slot is opened.
 */
export function planMemory(lifetimes: readonly Lifetime[]): Plan {
  const order = lifetimes.map((lifetime, index) => ({ lifetime, index }));
  order.sort((a, b) => a.lifetime.first - b.lifetime.first || b.lifetime.bytes - a.lifetime.bytes);

  const slotBytes: number[] = [];
  const busyUntil: number[] = [];
  const slots = lifetimes.map(() => -1);
  for (const { lifetime, index } of order) {
    const free = slotBytes
      .map((_, slot) => slot)
      .filter((slot) => at(busyUntil, slot) < lifetime.first);
    free.sort((a, b) => at(slotBytes, a) - at(slotBytes, b));
    const slot =
      free.find((candidate) => at(slotBytes, candidate) >= lifetime.bytes) ??
      free.at(-1) ??
      slotBytes.push(0) - 1;
    slotBytes[slot] = Math.max(at(slotBytes, slot), lifetime.bytes);
    busyUntil[slot] = lifetime.last;
    slots[index] = slot;
  }
  return { slots, slotBytes };
}

function at(values: readonly number[], index: number): number {
  return values[index] ?? 0;
}
