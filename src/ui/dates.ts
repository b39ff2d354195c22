// Dates in the language of the page and the zone of the machine.
import type { Language } from "./text/table.ts";

// British English has the day first and 24 hours, which no reader takes for something else.
const STYLES = {
  en: { tag: "en-GB", dateStyle: "medium" },
  zh: { tag: "zh-CN", dateStyle: "short" },
} as const satisfies Readonly<Record<Language, unknown>>;

// Making one takes longer than a hundred dates.
const formats = new Map<Language, Intl.DateTimeFormat>();

/** "22 Nov 2026, 21:04", "2026/11/22 21:04"; "–" for what is no date. */
export function formatDate(iso: string, language: Language): string {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return "–";
  const { tag, dateStyle } = STYLES[language];
  const format =
    formats.get(language) ?? new Intl.DateTimeFormat(tag, { dateStyle, timeStyle: "short" });
  formats.set(language, format);
  return format.format(date);
}
