// Where a config holds the value of a name that only helped to write it.
import { isDict, isList, type Namespace, type PyValue } from "./python-value.ts";

/** Looked at, levels down, and told, at most. */
const MOST_VISITS = 20_000;
const MOST_DEPTH = 30;
const MOST_PLACES = 4;

/**
 * Dotted paths under names that `isLookedAt`, as --cfg-options takes them, that hold the value of `name`:
 * those whose key is the name or its end where there are any, else all with that value.
 */
export function placesOf(
  names: Namespace,
  name: string,
  isLookedAt: (name: string) => boolean,
): string[] {
  const wanted = names.get(name)?.value;
  if (wanted === undefined) return [];
  const found: { readonly path: string; readonly key: string }[] = [];
  // What has several names is told of by the first.
  const seen = new Set<PyValue>();
  let visits = 0;
  const visit = (value: PyValue, path: string, key: string, depth: number) => {
    if (++visits > MOST_VISITS || depth > MOST_DEPTH) return;
    // The same number or text, or the very same list or dict.
    if (value === wanted) found.push({ path, key });
    if ((!isDict(value) && !isList(value)) || seen.has(value)) return;
    seen.add(value);
    const inner: Iterable<readonly [unknown, PyValue]> = isDict(value)
      ? [...value.entries].map(([own, entry]) => [own, entry.value] as const)
      : value.items.entries();
    for (const [own, item] of inner) visit(item, `${path}.${String(own)}`, String(own), depth + 1);
  };
  for (const [top, { value }] of names) if (isLookedAt(top)) visit(value, top, top, 0);
  const named = found.filter(({ key }) => key === name || name.endsWith(`_${key}`));
  // True, None, 0 and 1 are the value of many things.
  const isCommon = wanted === null || typeof wanted === "boolean" || wanted === 0n || wanted === 1n;
  const told = named.length > 0 || isCommon ? named : found;
  return told.slice(0, MOST_PLACES).map(({ path }) => path);
}
