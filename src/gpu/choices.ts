// Which of its variants each kernel uses on an adapter.

/**
 * A variant's name by slot: "matmul.f16.forward" → "tile 64x128x16". A slot that is missing, or names a variant
 * that the kernel does not know or the adapter cannot run, means the variant that runs on every adapter.
 */
export type Choices = Readonly<Record<string, string>>;

export function isSameChoice(a: Choices, b: Choices): boolean {
  return [...Object.keys(a), ...Object.keys(b)].every((slot) => a[slot] === b[slot]);
}
