// From the first visit to a chat and an export without a mouse: everything is reached, and the focus is always
// somewhere and always seen.
import { expect, test } from "vitest";
import { type App, openApp } from "./app.ts";
import { doneSteps } from "./training.ts";

const MOST_TABS = 90;

test("the keyboard alone leads from the first visit to a trained model, a chat and an export", async () => {
  const app = await openApp();
  const { page, text } = app;
  const { run, tryout, exports } = text.live;

  await onScreen(app, text.plan.check.title);
  // From below the content, a link leads past the way through the work to its title again.
  await pressOn(app, text.app.skipToContent);
  await onScreen(app, text.plan.check.title);

  await pressOn(app, text.plan.check.sample.button);
  await onScreen(app, text.plan.review.title);
  await pressOn(app, text.plan.review.start);
  await onScreen(app, text.app.screens.live);
  await doneSteps(app, 1);
  await pressOn(app, run.stop, "Space");
  await page.getByText(run.doing.stopped).waitFor();
  expect((await focused(app)).tag).not.toBe("BODY");
  await pressOn(app, run.talk);
  await onScreen(app, text.app.screens.try);

  await page.getByLabel(tryout.talk.message).waitFor({ timeout: 150_000 });
  await tabTo(app, tryout.settings.names.maxNewTokens.label);
  await page.keyboard.press("Home");
  await page.keyboard.press("ArrowRight");
  // Only the side that learned answers: a choice of the arrow keys.
  await tabTo(app, tryout.show.modes.both);
  await page.keyboard.press("ArrowRight");
  await tabTo(app, tryout.talk.message);
  await page.keyboard.type("Who are you?");
  await page.keyboard.press("Enter");
  await page.getByText(tryout.talk.answered(tryout.sides.tuned)).waitFor({ state: "attached" });
  expect((await focused(app)).name).toBe(tryout.talk.message);

  await pressOn(app, text.app.screens.export);
  await onScreen(app, text.app.screens.export);
  const download = page.waitForEvent("download");
  await pressOn(app, exports.adapter.save);
  expect((await download).suggestedFilename()).toMatch(/\.zip$/);
  expect((await focused(app)).tag).not.toBe("BODY");

  // A question over the page keeps the focus, and gives it back.
  await pressOn(app, text.app.screens.model);
  await onScreen(app, text.library.model.title);
  const remove = text.library.model.of(text.app.delete, "Seedling");
  await pressOn(app, remove);
  await page.getByRole("dialog").waitFor();
  for (let i = 0; i < 5; i++) {
    await page.keyboard.press("Tab");
    expect((await focused(app)).isInDialog).toBe(true);
  }
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await expect.poll(async () => (await focused(app)).name).toBe(remove);
  await app.close();
}, 120_000);

/** Goes to what has that name by Tab, and presses it. */
async function pressOn(app: App, name: string, key: "Enter" | "Space" = "Enter"): Promise<void> {
  await tabTo(app, name);
  await app.page.keyboard.press(key);
}

async function tabTo(app: App, name: string): Promise<void> {
  const seen: string[] = [];
  for (let i = 0; i < MOST_TABS; i++) {
    await app.page.keyboard.press("Tab");
    const now = await focused(app);
    seen.push(now.name);
    if (now.tag === "BODY") continue; // the browser's own buttons come between the last and the first
    expect(now.isSeen, `the focus on “${now.name}” is seen`).toBe(true);
    if (now.name === name && !now.isDisabled) return;
  }
  throw new Error(`Tab does not reach “${name}”. It reached: ${[...new Set(seen)].join(" · ")}`);
}

/** The new screen has the focus, at its title. */
async function onScreen(app: App, title: string): Promise<void> {
  const place = async () => {
    const { tag, name } = await focused(app);
    return `${tag} ${name}`;
  };
  await expect.poll(place, { timeout: 150_000 }).toBe(`H1 ${title}`);
}

interface Focused {
  readonly tag: string;
  readonly name: string;
  readonly isDisabled: boolean;
  readonly isSeen: boolean;
  readonly isInDialog: boolean;
}

/** What has the focus, by the name that a reader of the screen says. */
function focused({ page, text }: App): Promise<Focused> {
  return page.evaluate((done) => {
    const element = (document.activeElement ?? document.body) as HTMLInputElement;
    const label = element.labels?.[0]?.innerText ?? element.innerText;
    // Without numbers and marks, and without what only says that a step is done.
    const lines = (element.getAttribute("aria-label") ?? label ?? "").replace(done, "").split("\n");
    const name = lines.findLast((line) => /\p{L}/u.test(line)) ?? "";
    // The control itself, or what stands in its place.
    const shown = [element, element.parentElement].filter((one) => one !== null);
    const isSeen = shown.some((one) => {
      const { outlineStyle, outlineWidth } = getComputedStyle(one);
      const { top, bottom, width } = one.getBoundingClientRect();
      const isInView = width > 0 && bottom > 0 && top < innerHeight;
      return isInView && outlineStyle !== "none" && Number.parseFloat(outlineWidth) >= 2;
    });
    return {
      tag: element.tagName,
      name: name
        .replace(/^[\d✓]+\s*/, "")
        .replace(done, "")
        .trim(),
      isDisabled: element.disabled,
      isSeen,
      isInDialog: element.closest("[role=dialog]") !== null,
    };
  }, `(${text.app.done})`);
}
