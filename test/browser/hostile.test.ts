// Hostile texts in every place where a text of somebody else's is shown: they are seen as texts, and nothing
// of them runs, opens or asks for anything. Closing the page fails on any breach of its policy.
import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type HubServer, startHub } from "../hosts/hub-server.ts";
import { adapterFiles } from "../services/model-tab.ts";
import { named, pick, useSeedling } from "./actions.ts";
import { type App, goTo, openApp, press } from "./app.ts";
import { HOSTILE } from "./hostile.ts";
import { finishedRunFiles, newRunFiles } from "./stored-run.ts";
import { store } from "./stored.ts";
import { answerWith } from "./stub-chat.ts";

/** Of a text that is cut short where it is shown. */
const SEEN_CHARACTERS = 40;
let hub: HubServer;
let app: App;
const asked: string[] = [];
let tabs: readonly Page[] = [];

beforeAll(async () => {
  hub = await startHub();
  app = await openApp({ hub: hub.url, expected: [/Failed to load resource/] });
  app.context.on("request", (request) => {
    if (/hostile/.test(new URL(request.url()).pathname)) asked.push(request.url());
  });
  app.context.on("dialog", (dialog) => {
    asked.push(`a dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  await useSeedling(app);
  tabs = app.context.pages();
});
afterAll(async () => {
  await app.close();
  await hub.close();
});
afterEach(async () => {
  expect(asked).toEqual([]);
  expect(await app.page.evaluate(() => "hostile" in globalThis)).toBe(false);
  expect(app.page.url()).toContain(`${app.url}#/`);
  expect(app.context.pages()).toEqual(tabs);
});

test("as rows of data, in the table and as the model sees them", async () => {
  const { page, text } = app;
  await goTo(app, "data");
  const rows = HOSTILE.map((hostile) => JSON.stringify({ instruction: hostile, output: hostile }));
  await pick(page, text.data.add.pick, named("rows.jsonl", rows.join("\n")));
  await page.getByLabel(text.data.list.use("rows.jsonl")).waitFor();
  // The example of each row goes the same way: some are enough.
  const tokens = page.getByRole("group", { name: text.data.example.title, exact: true });
  for (const hostile of HOSTILE.slice(0, 5)) {
    await expect.poll(() => tokens.innerText()).toContain(hostile.slice(1, 3));
    await press(page, text.data.example.next);
  }
  await page.getByText(text.data.shown.table, { exact: true }).last().click();
  for (const [i, hostile] of HOSTILE.entries()) {
    const place = page.getByLabel(text.data.table.jump);
    await place.fill(String(i + 1));
    await place.press("Enter");
    await seen(hostile);
  }
});

test("as names of files and columns", async () => {
  const { page, text } = app;
  await goTo(app, "data");
  const row = JSON.stringify({ instruction: "Is it?", output: "It is." });
  await pick(
    page,
    text.data.add.pick,
    HOSTILE.map((name) => named(`${short(name)}.jsonl`, row)),
  );
  await expect
    .poll(
      () =>
        page
          .getByRole("listitem")
          .filter({ has: page.getByRole("checkbox") })
          .count(),
      {
        timeout: 60_000,
      },
    )
    .toBe(HOSTILE.length + 1);
  await seenAll(HOSTILE.map((name) => baseName(short(name))));
  const columns = Object.fromEntries(HOSTILE.map((column) => [column, column]));
  await pick(page, text.data.add.pick, named("columns.json", JSON.stringify([columns])));
  const mapper = page.getByRole("group", { name: text.data.mapper.title });
  await mapper.waitFor();
  const options = await mapper
    .getByLabel(text.data.mapper.input)
    .locator("option")
    .allTextContents();
  expect(options.map(plain)).toEqual(HOSTILE.map(plain));
  await mapper.getByLabel(text.data.mapper.output).selectOption({ index: 3 });
  await page.goto(`${app.url}#/check`);
});

test("as names and bases of models and adapters", async () => {
  const { page, text } = app;
  const now = new Date().toISOString();
  const records = HOSTILE.flatMap((hostile, i) =>
    (["model", "adapter"] as const).map((kind) => {
      const id = `${kind}-${i}`;
      const facts = { family: hostile, parameters: 1, layers: 1, contextTokens: 1, vocab: 1 };
      const record = {
        id,
        kind,
        name: hostile,
        origin: { kind: "hub", repo: hostile, revision: hostile, commit: hostile },
        bytes: 1,
        addedAt: now,
        usedAt: now,
        isComplete: true,
        baseModel: hostile,
        ...(kind === "model" && { facts: { ...facts, hasChatTemplate: true, storedAs: hostile } }),
      };
      return [`models/${id}/hone.json`, JSON.stringify(record)] as const;
    }),
  );
  await store(page, Object.fromEntries(records));
  await page.reload();
  await goTo(app, "model");
  await page.getByRole("heading", { name: text.library.model.adapters }).waitFor();
  await seenAll(HOSTILE);
  await removeStored(
    "models",
    records.map(([path]) => path.split("/")[1] ?? ""),
  );
});

test("as what is looked up, as an adapter's base, and in a share link", async () => {
  const { page, text } = app;
  HOSTILE.forEach((base, i) => {
    const config = { base_model_name_or_path: base };
    hub.repos.set(`org/a-${i}`, { files: adapterFiles(config) });
  });
  await page.reload();
  await goTo(app, "model");
  const { hub: words } = text.library.model;
  for (const hostile of HOSTILE) {
    await page.getByLabel(words.label).fill(hostile);
    await press(page, words.find);
    await page.getByRole("alert").first().waitFor();
  }
  // As the base of an adapter on the hub, and as the adapter that a link names.
  const adapters = HOSTILE.flatMap((hostile, i) => [`org/a-${i}`, hostile]);
  for (const adapter of adapters) {
    await page.goto(`${app.url}#/try?${new URLSearchParams({ adapter }).toString()}`);
    const alert = page.getByRole("alert");
    await alert.first().waitFor();
    await press(page, text.app.dismiss);
    await alert.first().waitFor({ state: "detached" });
  }
  await page.goto(`${app.url}#/check`);
});

test("as names, notes, questions, answers and errors of runs", async () => {
  const { page, text } = app;
  const files = HOSTILE.map((hostile, i) => {
    const id = `h-${i}`;
    const record = {
      id,
      name: hostile,
      notes: hostile,
      modelName: hostile,
      dataName: hostile,
      error: `${hostile}\n${hostile}`,
    };
    const options = { evaluation_inputs: [hostile] };
    return i < 6
      ? finishedRunFiles({ id, record, options, sample: { input: hostile, output: hostile } })
      : newRunFiles({ id, record: { ...record, status: "failed" }, options });
  });
  await store(page, Object.assign({}, ...files) as Record<string, string>);
  await page.reload();
  await goTo(app, "runs");
  await page.getByRole("checkbox").first().waitFor();
  const seenNames = await page.getByRole("rowheader").allTextContents();
  expect(seenNames.length).toBeGreaterThan(5);
  for (let i = 0; i < HOSTILE.length; i++) {
    await page.goto(`${app.url}#/live?run=h-${i}`);
    await page
      .getByRole("heading", { level: 2, name: plain(HOSTILE[i]!).slice(0, 8) })
      .first()
      .waitFor();
  }
  await goTo(app, "runs");
  const { action: compare } = text.library.runs.compare;
  const boxes = page.getByRole("checkbox", { name: text.library.runs.table.compareName("") });
  for (const i of [0, 1]) await boxes.nth(i).check();
  await press(page, compare(2));
  await page.getByText(text.library.runs.compare.results).first().waitFor();
  await removeStored(
    "runs",
    HOSTILE.map((_, i) => `h-${i}`),
  );
});

test("in a recipe, as its questions and as its faults", async () => {
  const { page, text } = app;
  await page.reload();
  await goTo(app, "recipe");
  const { file } = text.plan.recipe;
  const use = async (yaml: string) => {
    await press(page, file.paste);
    await page.getByLabel(file.pasteLabel).fill(yaml);
    await press(page, file.use);
  };
  for (const hostile of HOSTILE) {
    await use(JSON.stringify({ [hostile]: hostile, lr: hostile, prompt_template: hostile }));
    await page.getByRole("alert").first().waitFor();
  }
  await use(JSON.stringify({ evaluation_inputs: HOSTILE, system: HOSTILE[0] }));
  await page.getByText(file.loaded(file.pasted)).waitFor();
  await goTo(app, "review");
});

test("as questions and answers of a chat, as Markdown, as text and by token", async () => {
  const { page, text } = app;
  await answerWith(page, HOSTILE);
  await page.reload();
  await goTo(app, "try");
  const { choose, talk, show } = text.live.tryout;
  await press(page, choose.open);
  // Before a model is loaded, kernels may be tried: seen, and said.
  const bar = page.getByRole("progressbar", { name: text.app.tryingKernels });
  expect(await bar.getAttribute("value")).toBe("3.5");
  await page.getByText(text.app.doneOf("3", "14"), { exact: true }).waitFor();
  await page.getByRole("status").filter({ hasText: text.app.tryingKernels }).waitFor();
  const message = page.getByLabel(talk.message);
  for (const [i, hostile] of HOSTILE.entries()) {
    await message.fill(hostile);
    await message.press("Enter");
    await expect.poll(() => page.getByRole("article").count()).toBe(i + 1);
    await page
      .getByRole("article")
      .last()
      .getByText(talk.answered("").trim())
      .first()
      .waitFor({ state: "attached" });
  }
  const links = await page
    .getByRole("article")
    .getByRole("link")
    .evaluateAll((all) => all.map((link) => new URL((link as HTMLAnchorElement).href).protocol));
  expect(links.filter((protocol) => protocol !== "https:")).toEqual([]);
  expect(
    await page.getByRole("article").locator("img, iframe, script, style, form, svg, link").count(),
  ).toBe(0);
  await page.getByLabel(show.markdown).uncheck();
  await seenAll(HOSTILE);
  await page.getByLabel(show.probabilities).check();
  await page.getByRole("listbox", { name: show.tokens }).first().waitFor();
});

/** All of them are in the page's text. */
async function seenAll(texts: readonly string[]): Promise<void> {
  const shown = plain(await app.page.locator("main").innerText());
  const missing = texts.filter((text) => !shown.includes(plain(text).slice(0, SEEN_CHARACTERS)));
  expect(missing).toEqual([]);
}

async function seen(text: string): Promise<void> {
  const main = app.page.locator("main");
  await expect
    .poll(async () => plain(await main.innerText()))
    .toContain(plain(text).slice(0, SEEN_CHARACTERS));
}

/** Without what a page's text shows otherwise: white space, and what has no form. */
function plain(text: string): string {
  return text.replaceAll(/[\s\p{Cc}\p{Cf}\p{Cn}]+/gu, " ").trim();
}

/** File names have an end. */
function short(text: string): string {
  return text.slice(0, 150);
}

/** A browser takes what is before a slash for a folder. */
function baseName(name: string): string {
  return name.split(/[/\\]/).at(-1) ?? "";
}

async function removeStored(shelf: string, ids: readonly string[]): Promise<void> {
  await app.page.evaluate(
    async ([folder, names]) => {
      const root = await navigator.storage.getDirectory();
      const hone = await root.getDirectoryHandle("hone");
      const place = await hone.getDirectoryHandle(folder);
      for (const name of names) await place.removeEntry(name, { recursive: true });
    },
    [shelf, ids] as const,
  );
}
