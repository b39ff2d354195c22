// What belongs to no screen: the route, the language, the theme, and what went wrong.
import { createEffect, createSignal } from "solid-js";
import { messageOf } from "../base/error.ts";
import { createRouter, type Router } from "./router.ts";
import { readSetting, writeSetting } from "./settings.ts";
import { LANGUAGES, type Language, type Text, TEXTS } from "./text/table.ts";

export type Theme = "system" | "light" | "dark";

/** A thing to tell: a fact and what to do about it. */
export interface Notice {
  readonly id: number;
  readonly kind: "bad" | "good" | "info";
  readonly problem: string;
  readonly remedy: string;
}

export interface AppSlice extends Router {
  readonly language: () => Language;
  setLanguage(language: Language): void;
  /** The language's table. */
  readonly text: () => Text;
  readonly theme: () => Theme;
  setTheme(theme: Theme): void;
  readonly notices: () => readonly Notice[];
  tell(kind: Notice["kind"], problem: string, remedy?: string): void;
  dismiss(id: number): void;
  /** Runs an action; a failure becomes a notice, and the result undefined. */
  attempt<T>(action: () => Promise<T>): Promise<T | undefined>;
}

export function createAppSlice(): AppSlice {
  const router = createRouter();
  const [language, setLanguage] = createSignal<Language>(firstLanguage());
  const [theme, setTheme] = createSignal<Theme>(
    readSetting("theme", (value) => (value === "light" || value === "dark" ? value : "system")),
  );
  const [notices, setNotices] = createSignal<readonly Notice[]>([]);
  let lastId = 0;

  createEffect(() => {
    document.documentElement.lang = language() === "zh" ? "zh-Hans" : "en";
    writeSetting("language", language());
  });
  createEffect(() => {
    document.documentElement.dataset["theme"] = theme();
    writeSetting("theme", theme());
  });

  const tell: AppSlice["tell"] = (kind, problem, remedy = "") => {
    // Said twice, it is said once.
    const others = notices().filter((notice) => notice.problem !== problem);
    setNotices([...others, { id: ++lastId, kind, problem, remedy }]);
  };
  return {
    ...router,
    language,
    setLanguage,
    text: () => TEXTS[language()],
    theme,
    setTheme,
    notices,
    tell,
    dismiss: (id) => setNotices(notices().filter((notice) => notice.id !== id)),
    async attempt(action) {
      try {
        return await action();
      } catch (error) {
        const [problem = "", ...remedy] = messageOf(error).split("\n");
        tell("bad", problem, remedy.join("\n"));
        return undefined;
      }
    },
  };
}

function firstLanguage(): Language {
  const offered: readonly string[] = LANGUAGES;
  const own = navigator.languages.some((tag) => tag.toLowerCase().startsWith("zh")) ? "zh" : "en";
  return readSetting("language", (value) =>
    typeof value === "string" && offered.includes(value) ? (value as Language) : own,
  );
}
