// Small choices that outlive a visit. A browser that keeps nothing forgets them, and no more happens.

/** What was kept under `name`, as `parse` reads it: it gets undefined where there is nothing. */
export function readSetting<T>(name: string, parse: (value: unknown) => T): T {
  try {
    const kept = localStorage.getItem(`hone.${name}`);
    return parse(kept === null ? undefined : JSON.parse(kept));
  } catch {
    return parse(undefined);
  }
}

export function writeSetting(name: string, value: unknown): void {
  try {
    localStorage.setItem(`hone.${name}`, JSON.stringify(value));
  } catch {
    // Storage is off or full: the choice holds until the page is closed.
  }
}
