// The page answers while it works: during steps of training, and while 100,000 rows come in and are scrolled.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { temporaryFolder } from "../engine/tiny-folder.ts";
import { pick } from "./actions.ts";
import { type App, goTo, openApp } from "./app.ts";
import type { Waiting } from "./main-thread.ts";
import { watchTasks } from "./main-thread-tasks.ts";
import { doneSteps, setUpRun, startRun, statusOf } from "./training.ts";

/** What a person takes for at once, in 99 of 100 moments. */
const LONGEST_MS = 50;
const ROWS = 100_000;
const folder = temporaryFolder();
let app: App;

beforeAll(async () => {
  app = await openApp();
});
afterAll(() => app.close());

test("a task that takes long is seen", async () => {
  const stop = await watchTasks(app.page);
  await app.page.evaluate(() => {
    for (let i = 0, end = performance.now() + 400; performance.now() < end; i++);
  });
  expect((await stop()).worstMs).toBeGreaterThan(LONGEST_MS); // a busy machine leaves it a part of the time
});

test("an import of 100,000 rows and a scroll through them leave the main thread free", async () => {
  const { page, text } = app;
  await goTo(app, "data");
  const rows = Array.from({ length: ROWS }, (_, i) =>
    JSON.stringify({
      instruction: `What is ${i} and ${i % 97}?`,
      output: `It is ${i + (i % 97)}.`,
    }),
  );
  const path = join(folder, "many.jsonl");
  writeFileSync(path, rows.join("\n"));
  const stop = await watchTasks(page);
  await pick(page, text.data.add.pick, path);
  await page.getByLabel(text.data.list.use("many.jsonl")).waitFor({ timeout: 150_000 });
  report("import", await stop());

  await page.getByText(text.data.shown.table, { exact: true }).last().click();
  const table = page.getByRole("table", { name: text.data.table.label("many.jsonl") });
  await table.getByText("What is 0 and 0?").waitFor();
  const stopScroll = await watchTasks(page);
  const box = (await table.boundingBox())!;
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  for (let i = 0; i < 40; i++) {
    await page.mouse.wheel(0, 900);
    await page.waitForTimeout(25);
  }
  report("scroll", await stopScroll());
  const place = page.getByLabel(text.data.table.jump);
  await place.fill("77777");
  await place.press("Enter");
  await table.getByText("What is 77776 and 79?").waitFor();
});

test("training leaves the main thread free", async () => {
  const { page } = app;
  await setUpRun(app, page, { max_steps: 6 });
  const stop = await watchTasks(page);
  await startRun(app, "watched");
  await doneSteps(app, 5);
  await statusOf(app, "finished").waitFor({ timeout: 150_000 });
  report("training", await stop());
});

function report(what: string, { p99Ms, worstMs, seconds }: Waiting): void {
  const numbers = `p99 ${p99Ms} ms, longest task ${worstMs.toFixed(0)} ms, in ${seconds.toFixed(1)} s`;
  console.log(`${what}: ${numbers}`);
  expect(p99Ms).toBeLessThanOrEqual(LONGEST_MS);
  expect(seconds).toBeGreaterThan(0.2); // there was something to see
}
