// Every screen in both languages, both themes and on a phone: no word of the other language, nothing to scroll
// sideways for, and no accessibility fault that counts.
import axe from "axe-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ROUTES } from "../../src/ui/router.ts";
import { type Language, LANGUAGES, TEXTS } from "../../src/ui/text/table.ts";
import { useSeedling } from "./actions.ts";
import { type App, goTo, openApp, press } from "./app.ts";
import { finishedRunFiles } from "./stored-run.ts";
import { store } from "./stored.ts";
import { ask } from "./talk.ts";

const PHONE = { width: 360, height: 740 };
const WIDE = { width: 1280, height: 800 };
/** Not of the page: data, models' and files' names, the engine's own sentences, what programs read. */
const FOREIGN =
  "code, pre, .mono, select, option, .data-why, .data-tokens, .data-table, .data-name, .data-issue, .markdown, .try-turns, .live-answers, .runs-name";

describe.each(LANGUAGES)("in %s", (language) => {
  let app: App;
  beforeAll(async () => {
    // Colors that change slowly would be measured on their way.
    app = await openApp({ language, viewport: WIDE, reducedMotion: "reduce" });
    await app.page.getByText(app.text.plan.check.facts.title).waitFor();
  });
  afterAll(() => app.close());

  test("at the first visit", async () => {
    const other = language === "en" ? "zh" : "en";
    expect(await leftOver(app, other), "the look finds words where there are some").not.toEqual([]);
    for (const route of ROUTES) {
      await goTo(app, route);
      await settle(app);
      await look(app, language, route);
    }
  });

  test("with a finished run", async () => {
    const { page, text } = app;
    await useSeedling(app);
    await goTo(app, "data");
    await press(page, text.data.add.sampleNames["identity-en"]);
    await page.getByRole("checkbox", { checked: true }).waitFor();
    const names = ["one", "two"];
    for (const name of names) {
      await store(page, finishedRunFiles({ id: name, record: { id: name, name } }));
    }
    await page.reload();
    // Review measures with the GPU, which Try would have to wait for.
    const others = ROUTES.filter((route) => route !== "review");
    for (const route of [...others, "review"] as const) {
      await goTo(app, route);
      if (route === "data") await page.getByText(text.data.funnel.read).waitFor();
      if (route === "runs") await press(page, /two/);
      if (route === "review") await page.getByText(text.plan.review.memory.words.fits).waitFor();
      if (route === "try") {
        await press(page, text.live.tryout.choose.open);
        await ask(app, "Hi");
      }
      await settle(app);
      await look(app, language, route);
    }
    await goTo(app, "runs");
    for (const name of names) {
      await page.getByLabel(text.library.runs.table.compareName(name)).check();
    }
    await press(page, text.library.runs.compare.action(2));
    await page.getByText(text.library.runs.compare.results).first().waitFor();
    await settle(app);
    await look(app, language, "compare");
  });
});

/** Notes what is wrong with the screen as it is now, all of it before failing. */
async function look(app: App, language: Language, screen: string): Promise<void> {
  const { page } = app;
  expect
    .soft(await page.locator("html").getAttribute("lang"), screen)
    .toBe(language === "zh" ? "zh-Hans" : "en");
  expect.soft(await leftOver(app, language), `${screen}: words of the other language`).toEqual([]);
  await page.setViewportSize(PHONE);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  expect.soft(wide, `${screen}: pixels past the side of a phone`).toBeLessThanOrEqual(0);
  await page.setViewportSize(WIDE);
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme });
    expect.soft(await faults(app), `${screen}, ${colorScheme}`).toEqual([]);
  }
  await page.emulateMedia({ colorScheme: "light" });
}

/** What axe finds that is serious or critical: the rule, and where. */
async function faults({ page }: App): Promise<string[]> {
  if (!(await page.evaluate(() => "axe" in globalThis))) await page.evaluate(axe.source);
  const found = await page.evaluate(async () => {
    const tool = (globalThis as unknown as { axe: typeof axe }).axe;
    return (await tool.run(document, { resultTypes: ["violations"] })).violations;
  });
  return found
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, nodes }) =>
      nodes.map((node) => `${id}: ${node.html.slice(0, 200)} ${node.failureSummary ?? ""}`),
    );
}

/** Texts and labels on the screen that are the other language's. */
async function leftOver({ page }: App, language: Language): Promise<string[]> {
  const shown = await page.evaluate((foreign) => {
    const texts = new Set<string>();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      if (!node.parentElement?.closest(foreign)) texts.add(node.nodeValue?.trim() ?? "");
    }
    for (const element of document.querySelectorAll("[aria-label], [title], [placeholder]")) {
      if (element.closest(foreign)) continue;
      for (const name of ["aria-label", "title", "placeholder"]) {
        texts.add(element.getAttribute(name) ?? "");
      }
    }
    return [...texts].filter((text) => text !== "");
  }, FOREIGN);
  const isOther = otherIn(language);
  return shown.filter(isOther);
}

/** Whether a text is one of the other table's; in English, also whether it is Chinese at all. */
function otherIn(language: Language): (text: string) => boolean {
  const other = language === "en" ? "zh" : "en";
  const own = new Set(leavesOf(TEXTS[language]).filter((leaf) => typeof leaf === "string"));
  const leaves = leavesOf(TEXTS[other]);
  const texts = new Set(leaves.filter((leaf) => typeof leaf === "string" && !own.has(leaf)));
  const patterns = leaves.flatMap((leaf) => (typeof leaf === "function" ? patternOf(leaf) : []));
  return (text) =>
    texts.has(text) ||
    patterns.some((pattern) => pattern.test(text)) ||
    (language === "en" && /\p{Script=Han}/u.test(text));
}

type Leaf = string | ((...given: unknown[]) => unknown);

function leavesOf(table: object): Leaf[] {
  return Object.values(table).flatMap((value: unknown): Leaf[] =>
    typeof value === "object" && value !== null ? leavesOf(value) : [value as Leaf],
  );
}

const GIVEN = "\u0000";

/** Matches what a function of texts makes of any. Those of numbers and options are left out. */
function patternOf(leaf: (...given: unknown[]) => unknown): RegExp[] {
  let made: unknown;
  try {
    made = leaf(...Array.from({ length: leaf.length }, () => GIVEN));
  } catch {
    return [];
  }
  if (typeof made !== "string" || made.replaceAll(GIVEN, "").trim().length < 8) return [];
  const parts = made.split(GIVEN).map((part) => part.replaceAll(/[\\^$.*+?()[\]{}|/]/g, "\\$&"));
  return [new RegExp(`^${parts.join(".+")}$`, "s")];
}

/** Waits until nothing is being looked up any more, a moment at most. */
async function settle({ page, text }: App): Promise<void> {
  await page
    .getByText(text.app.loading)
    .or(page.getByText(text.plan.check.looking))
    .or(page.getByText(text.library.model.reading))
    .first()
    .waitFor({ state: "detached" });
  await page.waitForTimeout(100);
}
