// A list that makes its items when asked for, as an array.
export function listOf<T>(list: {
  readonly length: number;
  at(index: number): T | undefined;
}): T[] {
  return Array.from({ length: list.length }, (_, i) => list.at(i) as T);
}
