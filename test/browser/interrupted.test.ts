// Runs that something comes between, in the page: each must end with the very numbers of one that nothing
// came between. That one is made by the command line, on the same software adapter and from the page's files.
import { afterAll, beforeAll, expect, test } from "vitest";
import { temporaryFolder } from "../engine/tiny-folder.ts";
import { type App, goTo, openApp, press } from "./app.ts";
import { type Place, stallAt } from "./stall.ts";
import {
  doneSteps,
  finishedRun,
  type Outcome,
  setUpRun,
  startRun,
  statusOf,
  STEPS,
  trainInNode,
} from "./training.ts";

const folder = temporaryFolder();
let app: App;
let whole: Outcome | undefined;

beforeAll(async () => {
  app = await openApp();
  await setUpRun(app);
  // The screen measures a small model by itself, which opens the files that a run opens.
  await app.page.getByText(app.text.plan.review.time.from).waitFor();
});
afterAll(() => app.close());

/** Compares with a run that nothing came between, and has that made when it is first asked for. */
async function expectWhole(outcome: Outcome, name: string, page = app.page): Promise<void> {
  whole ??= await trainInNode(page, name, folder);
  expect(whole.filter(({ type }) => type === "step")).toHaveLength(STEPS);
  expect(outcome).toEqual(whole);
}

const DATA: Place = { method: "getFile", file: "data.jsonl" };
const LOAD: Place = { method: "getFile", file: "model.safetensors", nth: 12 };
const COMPILE: Place = { method: "createComputePipelineAsync", nth: 5 };
const CHECKPOINT: Place = { method: "createSyncAccessHandle", file: "state.json" };

test("reloaded in every phase, a run comes back by itself and ends as if nothing had been", async () => {
  const { page } = app;
  const words = app.text.live.run;
  const reload = async () => {
    await page.reload();
    await page.getByText(words.restored.problem).waitFor();
  };
  let stall = await stallAt(page, DATA);
  await startRun(app, "reloaded");
  for (const next of [LOAD, COMPILE]) {
    await stall.reached();
    stall = await stallAt(page, next);
    await reload();
  }
  await stall.reached();
  await reload();

  // The first of two answers, before the first step.
  await page.getByRole("rowheader", { name: words.answers.before }).waitFor();
  await reload();

  await doneSteps(app, 4); // between two checkpoints, while the next step is computed
  stall = await stallAt(page, CHECKPOINT);
  await reload();

  await stall.reached();
  await reload();

  await press(page, words.pause);
  await statusOf(app, "paused").waitFor();
  await reload();
  await expectWhole(await finishedRun(app, "reloaded"), "reloaded");
});

test("a second tab is told of the run, goes on with it when the first is gone, pauses and stops it", async () => {
  const { anotherTab } = app.text.app;
  const words = app.text.live.run;
  const other = await app.openTab();
  await goTo(app, "review");
  await startRun(app, "handed-over");

  await other.getByText(anotherTab("handed-over")).waitFor();
  await goTo(app, "review", other);
  const start = other.getByRole("button", { name: app.text.plan.review.start });
  expect(await start.isDisabled()).toBe(true);
  await goTo(app, "live", other);
  await other.getByRole("heading", { name: words.elsewhere.title("handed-over") }).waitFor();
  await doneSteps(app, 4);

  await app.page.close();
  await press(other, words.continue);
  await doneSteps(app, 5, other);
  await press(other, words.pause);
  await statusOf(app, "paused", other).waitFor();
  await press(other, words.goOn);
  await doneSteps(app, 8, other);
  await press(other, words.stop);
  await statusOf(app, "stopped", other).waitFor();
});

test("that run is continued, loses its GPU, recovers by itself and ends as if nothing had been", async () => {
  const page = app.context.pages().at(-1)!;
  await press(page, app.text.live.run.continue);
  await doneSteps(app, 13, page);
  const browser = await app.context.browser()!.newBrowserCDPSession();
  await browser.send("Browser.crashGpuProcess");
  await page.getByText(app.text.live.run.recovering(1)).waitFor();
  await expectWhole(await finishedRun(app, "handed-over", page), "handed-over", page);
});
