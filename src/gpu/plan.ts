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
 * Greedy by size, the largest first: each takes the tightest slot that is free for all of its life, else
 * opens one. No slot ever grows, and what is large and short-lived, a scratch matrix, has its slot before
 * what is small and kept long could settle there.
 */
export function planMemory(lifetimes: readonly Lifetime[]): Plan {
  const order = lifetimes.map((lifetime, index) => ({ lifetime, index }));
  order.sort((a, b) => b.lifetime.bytes - a.lifetime.bytes || a.lifetime.first - b.lifetime.first);

  const slotBytes: number[] = [];
  /** For each slot, the lives in it in the order of time. */
  const taken: Lifetime[][] = [];
  const slots = lifetimes.map(() => -1);
  for (const { lifetime, index } of order) {
    // Later slots are smaller, so that the last free one is the tightest.
    let slot = taken.length - 1;
    while (slot >= 0 && !settle(taken[slot], lifetime)) slot--;
    if (slot < 0) {
      slot = taken.push([lifetime]) - 1;
      slotBytes.push(lifetime.bytes);
    }
    slots[index] = slot;
  }
  return { slots, slotBytes };
}

/** Puts a life among others if it meets none of them; tells whether it did. */
function settle(others: Lifetime[] = [], lifetime: Lifetime): boolean {
  let low = 0;
  let high = others.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((others[middle]?.first ?? 0) <= lifetime.last) low = middle + 1;
    else high = middle;
  }
  // Of those that begin before this one ends, the last must have ended before it begins.
  if ((others[low - 1]?.last ?? -1) >= lifetime.first) return false;
  others.splice(low, 0, lifetime);
  return true;
}
