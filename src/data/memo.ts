// A bounded memory of results: data sets repeat themselves, and encoding is the slow part of reading one.

const KEY_LIMIT_CHARS = 8192;

/** `compute`, remembering results for up to `entries` keys. Results are shared, so nobody may change them. */
export function memoize<T>(entries: number, compute: (key: string) => T): (key: string) => T {
  const results = new Map<string, T>();
  return (key) => {
    const known = results.get(key);
    if (known !== undefined) return known;
    const result = compute(key);
    if (key.length > KEY_LIMIT_CHARS) return result;
    if (results.size >= entries) {
      // The oldest goes: a Map keeps the order of insertion.
      for (const oldest of results.keys()) {
        results.delete(oldest);
        break;
      }
    }
    results.set(key, result);
    return result;
  };
}
