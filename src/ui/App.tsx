// The page: the way through the work at the side, one screen at a time beside it, messages over both.
import { createEffect, ErrorBoundary, For, type JSX, lazy, Show, Suspense } from "solid-js";
import { Dynamic } from "solid-js/web";
import { messageOf } from "../base/error.ts";
import { Button } from "./parts/Button.tsx";
import { Notice } from "./parts/Notice.tsx";
import { Logo } from "./parts/Logo.tsx";
import { hrefOf, ROUTES, type RouteName } from "./router.ts";
import { useSession, useText } from "./session.ts";
import type { Theme } from "./session-app.ts";
import { Check } from "./screens/Check.tsx";
import { LANGUAGES } from "./text/table.ts";

// Each screen comes when it is first opened.
const Model = lazy(async () => ({ default: (await import("./screens/Model.tsx")).Model }));
const Data = lazy(async () => ({ default: (await import("./screens/Data.tsx")).Data }));
const Recipe = lazy(async () => ({ default: (await import("./screens/Recipe.tsx")).Recipe }));
const Review = lazy(async () => ({ default: (await import("./screens/Review.tsx")).Review }));
const Live = lazy(async () => ({ default: (await import("./screens/Live.tsx")).Live }));
const Try = lazy(async () => ({ default: (await import("./screens/Try.tsx")).Try }));
const Export = lazy(async () => ({ default: (await import("./screens/Export.tsx")).Export }));
const Runs = lazy(async () => ({ default: (await import("./screens/Runs.tsx")).Runs }));

const SCREENS: Readonly<Record<RouteName, () => JSX.Element>> = {
  check: Check,
  model: Model,
  data: Data,
  recipe: Recipe,
  review: Review,
  live: Live,
  try: Try,
  export: Export,
  runs: Runs,
};

const GROUPS = [
  { name: "prepare", routes: ["check", "model", "data", "recipe", "review"] },
  { name: "train", routes: ["live"] },
  { name: "use", routes: ["try", "export", "runs"] },
] as const;

const LANGUAGE_NAMES = { en: "English", zh: "中文" } as const;
const THEMES: readonly Theme[] = ["system", "light", "dark"];

export function App() {
  const { app, live } = useSession();
  const text = useText();
  createEffect(() => {
    document.title = `${text().app.screens[app.route().name]} · Hone`;
  });
  return (
    <div class="shell">
      <a class="skip" href="#content" onClick={skipToContent}>
        {text().app.skipToContent}
      </a>
      <Rail />
      <div class="page">
        <Show when={live.elsewhere()}>
          {(run) => (
            <div class="banner" role="status">
              {text().app.anotherTab(run())}
            </div>
          )}
        </Show>
        <Suspense fallback={<main class="screen quiet">{text().app.loading}</main>}>
          {/* A fault of one screen leaves the others as they are. */}
          <Show when={app.route().name} keyed>
            {(name) => (
              <ErrorBoundary fallback={(fault: unknown) => <Fault fault={fault} />}>
                <Dynamic component={SCREENS[name]} />
              </ErrorBoundary>
            )}
          </Show>
        </Suspense>
      </div>
      <Notices />
    </div>
  );
}

/** A screen that could not be drawn, or not be fetched. */
function Fault(props: { readonly fault: unknown }) {
  const text = useText();
  console.error(props.fault); // with its stack, for a report
  return (
    <main id="content" class="screen">
      <h1 tabindex="-1">{text().app.fault.title}</h1>
      <Notice kind="bad" problem={messageOf(props.fault)} remedy={text().app.fault.remedy} />
      <div>
        <Button kind="primary" onClick={() => location.reload()}>
          {text().app.fault.reload}
        </Button>
      </div>
    </main>
  );
}

function Rail() {
  const { app } = useSession();
  const text = useText();
  return (
    <header class="rail">
      <a class="brand" href={hrefOf("check")}>
        <Logo />
        {text().app.name}
      </a>
      <nav aria-label={text().app.steps}>
        <For each={GROUPS}>
          {(group) => (
            <div class="rail-group">
              <p id={`rail-${group.name}`}>{text().app.groups[group.name]}</p>
              <ul aria-labelledby={`rail-${group.name}`}>
                <For each={group.routes}>{(name) => <RailLink name={name} />}</For>
              </ul>
            </div>
          )}
        </For>
      </nav>
      <div class="rail-foot">
        <p class="privacy">{text().app.privacy}</p>
        <select
          aria-label={text().app.language}
          onChange={(event) => {
            const chosen = LANGUAGES[event.currentTarget.selectedIndex];
            if (chosen) app.setLanguage(chosen);
          }}
        >
          <For each={LANGUAGES}>
            {(language) => (
              <option selected={app.language() === language}>{LANGUAGE_NAMES[language]}</option>
            )}
          </For>
        </select>
        <select
          aria-label={text().app.theme}
          onChange={(event) => {
            const chosen = THEMES[event.currentTarget.selectedIndex];
            if (chosen) app.setTheme(chosen);
          }}
        >
          <For each={THEMES}>
            {(theme) => (
              <option selected={app.theme() === theme}>{text().app.themes[theme]}</option>
            )}
          </For>
        </select>
      </div>
    </header>
  );
}

function RailLink(props: { readonly name: RouteName }) {
  const session = useSession();
  const text = useText();
  const isDone = () => {
    switch (props.name) {
      case "check":
        return session.check.gpu() !== undefined;
      case "model":
        return session.models.selected() !== undefined;
      case "data":
        return session.data.selected().length > 0;
      default:
        return false;
    }
  };
  return (
    <li>
      <a
        class="rail-link"
        href={hrefOf(props.name)}
        aria-current={session.app.route().name === props.name ? "page" : undefined}
      >
        <span class="rail-mark" classList={{ "is-done": isDone() }} aria-hidden="true">
          {isDone() ? "✓" : ROUTES.indexOf(props.name) + 1}
        </span>
        {text().app.screens[props.name]}
        <Show when={isDone()}>
          <span class="visually-hidden">({text().app.done})</span>
        </Show>
      </a>
    </li>
  );
}

function Notices() {
  const { app } = useSession();
  const text = useText();
  return (
    <section class="notices" aria-label={text().app.notices}>
      <For each={app.notices()}>
        {(notice) => (
          <Notice
            kind={notice.kind}
            problem={notice.problem}
            remedy={notice.remedy}
            action={
              <Button kind="subtle" onClick={() => app.dismiss(notice.id)}>
                {text().app.dismiss}
              </Button>
            }
          />
        )}
      </For>
    </section>
  );
}

/** The address after "#" names the screen, so the link's own would lead away. */
function skipToContent(event: MouseEvent): void {
  event.preventDefault();
  document.querySelector<HTMLElement>("#content h1")?.focus();
}
