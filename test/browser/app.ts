// The built page in a real browser, served as `npm start` does. Whatever goes wrong on the way is collected:
// closing the app fails on errors in the console, uncaught ones, breaches of the policy, and foreign requests.
import { join } from "node:path";
import type { BrowserContext, ConsoleMessage, Page } from "playwright-core";
import { serve } from "../../scripts/serve.mjs";
import { type Language, type Text, TEXTS } from "../../src/ui/text/table.ts";
import { type BrowserOptions, openBrowser } from "./chromium.ts";

export const dist = join(import.meta.dirname, "..", "..", "dist");

export interface AppOptions extends BrowserOptions {
  readonly language?: Language;
  /** The hub's origin; the default is the real one, which no test reaches. */
  readonly hub?: string;
  /** A server that is running already, for a second visit. It is not closed. */
  readonly site?: { readonly url: string };
  /** Messages that are part of the test, such as the browser's own on a broken connection. */
  readonly expected?: readonly RegExp[];
}

type RouteName = keyof Text["app"]["screens"];

export interface App {
  readonly url: string;
  readonly context: BrowserContext;
  /** The first tab. */
  readonly page: Page;
  readonly text: Text;
  /** What went wrong so far. */
  readonly problems: readonly string[];
  /** Another tab on the same origin. */
  openTab(route?: RouteName): Promise<Page>;
  close(): Promise<void>;
}

/** For what a page shows: other tests have the cores too, and a software GPU takes them all. */
const PATIENCE_MS = 90_000;

export async function openApp(options: AppOptions = {}): Promise<App> {
  const language = options.language ?? "en";
  const ownSite = options.site
    ? undefined
    : await serve({ root: dist, port: 0, ...hubOf(options) });
  const url = (options.site ?? ownSite!).url;
  const browser = await openBrowser({ locale: language === "zh" ? "zh-CN" : "en-US", ...options });
  const problems = collectProblems(browser.context, options.expected ?? []);
  const openTab = async (route: RouteName = "check") => {
    const page = await browser.context.newPage();
    await page.goto(`${url}#/${route}`);
    return page;
  };
  browser.context.setDefaultTimeout(PATIENCE_MS);
  await browser.context.addInitScript(reportViolations);
  return {
    url,
    context: browser.context,
    page: await openTab(),
    text: TEXTS[language],
    problems,
    openTab,
    async close() {
      const hosts = await browser.close();
      await ownSite?.close();
      const own = [new URL(url).host, options.hub && new URL(options.hub).host];
      const foreign = [...hosts].filter((host) => !own.includes(host));
      if (foreign.length > 0) problems.push(`asked for ${foreign.join(", ")}`);
      if (problems.length > 0) throw new Error(`The page had problems:\n${problems.join("\n")}`);
    },
  };
}

/** Goes to a screen by its link, as people do. */
export async function goTo(app: App, route: RouteName, page = app.page): Promise<void> {
  const name = new RegExp(app.text.app.screens[route]);
  await page.getByRole("navigation").getByRole("link", { name }).click();
  await page.getByRole("heading", { level: 1 }).waitFor();
}

/** Clicks what has that role and name, once it is there and enabled. */
export async function press(
  page: Page,
  name: string | RegExp,
  role: "button" | "link" | "tab" | "radio" | "checkbox" | "option" | "menuitem" = "button",
): Promise<void> {
  await page
    .getByRole(role, { name, exact: typeof name === "string" })
    .first()
    .click();
}

/** Does what starts a download, and returns the file's path and name. Gone when the app closes. */
export async function download(
  page: Page,
  start: () => Promise<void>,
): Promise<{ readonly path: string; readonly name: string }> {
  const [started] = await Promise.all([page.waitForEvent("download"), start()]);
  return { path: await started.path(), name: started.suggestedFilename() };
}

function hubOf({ hub }: AppOptions): { readonly hub?: string } {
  return hub === undefined ? {} : { hub };
}

function collectProblems(context: BrowserContext, expected: readonly RegExp[]): string[] {
  const problems: string[] = [];
  const add = (text: string) => {
    if (!expected.some((pattern) => pattern.test(text))) problems.push(text);
  };
  context.on("console", (message: ConsoleMessage) => {
    if (message.type() === "error") add(`console: ${message.text()} (${message.location().url})`);
  });
  context.on("weberror", (error) =>
    add(`uncaught: ${error.error().stack ?? String(error.error())}`),
  );
  context.on("page", (page) => {
    page.on("crash", () => add("a tab crashed"));
  });
  return problems;
}

/** Runs in the page, before its own scripts. */
function reportViolations(): void {
  addEventListener("securitypolicyviolation", (event) => {
    console.error(
      `policy: ${event.violatedDirective} blocked ${event.blockedURI} at ${event.sourceFile}:${event.lineNumber} ${event.sample}`,
    );
  });
}
