// White space as Python's `str.strip` takes it. Walked, not matched: `\s+$` takes quadratic time.

export function isSpace(unit: number): boolean {
  return (
    (unit >= 0x09 && unit <= 0x0d) ||
    (unit >= 0x1c && unit <= 0x20) ||
    unit === 0x85 ||
    unit === 0xa0 ||
    unit === 0x1680 ||
    (unit >= 0x2000 && unit <= 0x200a) ||
    unit === 0x2028 ||
    unit === 0x2029 ||
    unit === 0x202f ||
    unit === 0x205f ||
    unit === 0x3000
  );
}

/** Without what `matches` says of its first UTF-16 units. */
export function trimStart(text: string, matches = isSpace): string {
  let start = 0;
  while (start < text.length && matches(text.charCodeAt(start))) start++;
  return text.slice(start);
}

export function trimEnd(text: string, matches = isSpace): string {
  let end = text.length;
  while (end > 0 && matches(text.charCodeAt(end - 1))) end--;
  return text.slice(0, end);
}
