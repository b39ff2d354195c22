// Storage that runs full: it is said in words with numbers, and nothing that was saved before is lost.
import type { CDPSession } from "playwright-core";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { writeTinyModel } from "../engine/tiny-folder.ts";
import { named, pick, told, useSeedling } from "./actions.ts";
import { type App, goTo, openApp, press } from "./app.ts";
import { newRunFiles } from "./stored-run.ts";
import { store, storedFiles } from "./stored.ts";

const FULL = /no room for [^.]+\.\w+.* allows this site [\d.]+ GiB, of which [\d.]+ MiB are used/;
const tiny = writeTinyModel();
let app: App;
let browser: CDPSession | undefined;

beforeAll(async () => {
  app = await openApp({ expected: [/QuotaExceeded|quota/] });
  await useSeedling(app);
});
afterAll(() => app.close());
beforeEach(() => allow(undefined));

test("a model that does not fit is not kept in part", async () => {
  const before = await storedFiles(app.page);
  await allow(200_000);
  const { local } = app.text.library.model;
  await pick(app.page, local.pickFolder, tiny);
  await told(app.page, FULL);
  expect(await storedFiles(app.page)).toEqual(before);
  await allow(undefined);
  await pick(app.page, local.pickFolder, tiny);
  await expect
    .poll(async () => Object.keys(await storedFiles(app.page)).length)
    .toBeGreaterThan(Object.keys(before).length);
});

test("data that does not fit is not kept in part", async () => {
  await goTo(app, "data");
  const row = `${JSON.stringify({ instruction: "Say it.", output: "word ".repeat(200) })}\n`;
  const { add, list } = app.text.data;
  await pick(app.page, add.pick, named("small.jsonl", row.repeat(3)));
  await app.page.getByLabel(list.use("small.jsonl")).waitFor();
  const before = await storedFiles(app.page);
  await allow(200_000);
  await pick(app.page, add.pick, named("large.jsonl", row.repeat(4000)));
  await told(app.page, FULL);
  expect(await storedFiles(app.page)).toEqual(before);
  expect(await app.page.getByLabel(list.use("large.jsonl")).count()).toBe(0);
});

test("a checkpoint that does not fit ends the run in words; the one before stays, and the run goes on", async () => {
  const { page, text } = app;
  await goTo(app, "data");
  await press(page, text.data.add.sampleNames.colors);
  await page.getByLabel(text.data.list.use("Colors of things (sample)")).waitFor();
  const options = {
    max_steps: 3,
    batch_size: 1,
    accumulative_counts: 1,
    evaluation_inputs: [],
    save_steps: 1,
    max_length: 32,
    save_total_limit: -1,
    eval_split: 0,
  };
  const record = { name: "A full run", dataIds: ["sample-colors"] };
  await store(page, newRunFiles({ id: "full", record, options }));
  await page.reload();
  await goTo(app, "runs");
  await press(page, /A full run/);
  await press(page, text.library.runs.details.of(text.library.runs.details.continue, "A full run"));
  await expect.poll(() => saved(), { timeout: 150_000 }).toContain("iter_1");
  await allow(0);
  await told(page, FULL);
  const whole = await storedFiles(page, "runs/full/work/iter_1/");
  expect(Object.keys(whole)).toContain("runs/full/work/iter_1/state.json");
  expect(await saved()).not.toContain("iter_3");
  // With room again it goes on from there, to the end.
  await allow(undefined);
  await press(page, text.live.run.failed.continue);
  await page.getByText(text.live.run.doing.finished).waitFor();
  expect(await saved()).toEqual(["iter_1", "iter_2", "iter_3"]);
});

/** Lets the page write so many bytes more. It holds for as long as the session is open. */
async function allow(bytes: number | undefined): Promise<void> {
  browser ??= await app.context.newCDPSession(app.page);
  const { origin } = new URL(app.url);
  const { usage } = await browser.send("Storage.getUsageAndQuota", { origin });
  const quotaSize = bytes === undefined ? 2 ** 32 : usage + bytes;
  await browser.send("Storage.overrideQuotaForOrigin", { origin, quotaSize });
}

/** The checkpoints that are whole. */
async function saved(): Promise<string[]> {
  const paths = Object.keys(await storedFiles(app.page, "runs/full/work/"));
  return paths.flatMap((path) => /work\/(iter_\d+)\/state\.json$/.exec(path)?.[1] ?? []).toSorted();
}
