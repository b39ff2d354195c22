// The first visit, from an empty profile to a model that others can use: three clicks, an answer that training
// changed, and files that give the same numbers and words in Node as they gave in the page.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { unzipSync } from "fflate";
import { expect, test } from "vitest";
import { createEngine } from "../../src/engine.ts";
import { nodeHost, openFolder } from "../../src/hosts/node.ts";
import { hone } from "../cli/run-cli.ts";
import { temporaryFolder } from "../engine/tiny-folder.ts";
import { type App, download, openApp, press } from "./app.ts";
import { callEngine, openEngineTab } from "./engine-worker.ts";
import { ask } from "./talk.ts";
import { statusOf } from "./training.ts";

const SEEDLING = join(import.meta.dirname, "../../public/models/seedling");
const QUESTION = "Who are you?";
const folder = temporaryFolder();

test("three clicks lead to a trained model, and its exports answer elsewhere as they do in the page", async () => {
  const app = await openApp();
  const { page, text } = app;
  const clicks = await countClicks(app);
  await press(page, text.plan.check.sample.button);
  await press(page, text.plan.review.start);
  await statusOf(app, "finished").waitFor({ timeout: 200_000 });
  await press(page, text.live.run.talk);
  await page.getByLabel(text.live.tryout.talk.message).waitFor();
  expect(await clicks()).toBe(3);

  const { base, tuned } = await ask(app, QUESTION);
  expect(base).not.toBe("");
  expect(tuned).not.toBe("");
  expect(tuned).not.toBe(base);

  await page.getByRole("link", { name: new RegExp(text.app.screens.export) }).click();
  const exports = text.live.exports;
  const adapter = unzip(await download(page, () => press(page, exports.adapter.save)), "adapter");
  expect(await logitsInNode(adapter)).toEqual(await logitsInPage(app));

  await press(page, exports.merged.write);
  const merged = page.getByRole("region", { name: exports.merged.title });
  const save = merged.getByRole("button", { name: exports.zip });
  const model = unzip(await download(page, () => save.click()), "merged");
  const flags = ["--temperature", "0", "--max-new-tokens", "48", "--gpu", "swiftshader"];
  const { stdout } = await hone(["chat", model, ...flags], { input: `${QUESTION}\n`, folder });
  expect(stdout.trim()).toBe(tuned);
  await app.close();
});

/** Counts what the person clicks from now on. */
async function countClicks({ page }: App): Promise<() => Promise<number>> {
  const count = await page.evaluateHandle(() => {
    const counted = { clicks: 0 };
    addEventListener("click", ({ isTrusted }) => isTrusted && counted.clicks++, true);
    return counted;
  });
  return () => count.evaluate(({ clicks }) => clicks);
}

/** Unpacks a downloaded archive; returns the folder's path. */
function unzip({ path }: { readonly path: string }, name: string): string {
  const target = join(folder, name);
  mkdirSync(target);
  for (const [file, bytes] of Object.entries(unzipSync(readFileSync(path)))) {
    writeFileSync(join(target, file), bytes);
  }
  return target;
}

const MESSAGES = [{ role: "user", content: QUESTION }] as const;
const CHAT = { quantization: "nf4", contextTokens: 256 } as const;

/** Of the answer's first token, by the page's own engine, with the newest checkpoint of its one run. */
async function logitsInPage(app: App): Promise<unknown> {
  const tab = await openEngineTab(app);
  const [run] = (await callEngine(tab, "listRuns")) as { id: string; checkpoint: string }[];
  const adapter = { kind: "run", runId: run!.id, checkpoint: run!.checkpoint } as const;
  const request = { modelId: "seedling", adapter, ...CHAT };
  return callEngine(tab, "firstLogits", request, MESSAGES);
}

/** Of the same token, by the engine in Node with the exported adapter. */
async function logitsInNode(adapter: string): Promise<readonly number[]> {
  const engine = createEngine(nodeHost({ adapter: "swiftshader" }));
  const chat = await engine.openChat({
    model: openFolder(SEEDLING),
    adapter: openFolder(adapter),
    ...CHAT,
  });
  const logits = await chat.logits(MESSAGES);
  chat.close();
  engine.close();
  return [...logits];
}
