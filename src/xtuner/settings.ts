// The settings of a run that a config comes to, each with the line that gave it.
import type { OptionPath } from "../config/values.ts";

export interface Settings {
  /** A later value replaces an earlier one. */
  set(path: OptionPath, value: unknown, line: number): void;
  has(path: OptionPath): boolean;
  get(path: OptionPath): unknown;
  /** As a config file would nest them. */
  nested(): Record<string, unknown>;
  lineOf(path: string): number | undefined;
}

export function createSettings(): Settings {
  const given = new Map<string, { value: unknown; line: number }>();
  return {
    set: (path, value, line) => given.set(path, { value, line }),
    has: (path) => given.has(path),
    get: (path) => given.get(path)?.value,
    nested() {
      const record: Record<string, unknown> = {};
      for (const [path, { value }] of given) {
        const [section = "", key] = path.split(".", 2);
        if (key === undefined) record[section] = value;
        else record[section] = { ...(record[section] as object | undefined), [key]: value };
      }
      return record;
    },
    lineOf: (path) => given.get(path)?.line,
  };
}
