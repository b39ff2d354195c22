// After one visit neither the host nor a network is needed: the page opens, trains, talks and exports.
import { expect, test } from "vitest";
import { serve } from "../../scripts/serve.mjs";
import { dist, download, goTo, openApp, press } from "./app.ts";
import { ask } from "./talk.ts";
import { finishedRun, setUpRun, startRun } from "./training.ts";

test("without host and network a run is trained, talked to and exported", async () => {
  const host = await serve({ root: dist, port: 0 });
  const app = await openApp({ site: host, expected: [/net::ERR_/] });
  const { page, text } = app;
  await page.evaluate(async () => {
    await navigator.serviceWorker.ready;
    if (navigator.serviceWorker.controller) return;
    await new Promise((resolve) => {
      navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true });
    });
  });
  await host.close();
  await app.context.setOffline(true);
  await page.reload();

  await setUpRun(app, page, { max_steps: 3, evaluation_inputs: [], eval_split: 0 });
  await startRun(app, "offline");
  expect(await finishedRun(app, "offline")).toHaveLength(3);
  await press(page, text.live.run.talk);
  expect((await ask(app, "Who are you?")).tuned).not.toBe("");
  await goTo(app, "export");
  const { name } = await download(page, () => press(page, text.live.exports.adapter.save));
  expect(name).toBe("offline-adapter.zip");
  await app.close();
});
