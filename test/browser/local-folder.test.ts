// Models from the person's own disk: a folder, one file, or dropped; and what is refused, with the reason.
import { cpSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { temporaryFolder, writeTinyModel } from "../engine/tiny-folder.ts";
import { tinyGguf } from "../services/model-tab.ts";
import { card, pick, told } from "./actions.ts";
import { type App, goTo, openApp, press } from "./app.ts";
import { storedFiles } from "./stored.ts";

const tiny = writeTinyModel();
const scratch = temporaryFolder();
let app: App;

beforeAll(async () => {
  app = await openApp();
});
afterAll(() => app.close());
beforeEach(() => goTo(app, "model"));

const words = () => app.text.library.model;

test("a folder is copied, chosen, and there at the next visit", async () => {
  await pick(app.page, words().local.pickFolder, copyOf("my-tiny"));
  await card(app.page, "my-tiny").getByText(words().card.tokens("512"), { exact: true }).waitFor();
  await chosen("my-tiny");
  const files = Object.keys(await storedFiles(app.page, "models/my-tiny/files/"));
  expect(files.map((path) => basename(path)).toSorted()).toEqual([
    "config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
  ]);
  await app.page.reload();
  await chosen("my-tiny");
});

test("a GGUF file alone is a model", async () => {
  const path = join(scratch, "a tiny one.gguf");
  writeFileSync(path, tinyGguf());
  await pick(app.page, words().local.pickFiles, path);
  await card(app.page, "a tiny one").getByText("llama", { exact: true }).waitFor();
  // It brings no template along, and the card says what is done about that.
  await card(app.page, "a tiny one").getByText(words().card.noTemplate).waitFor();
  await chosen("a tiny one");
});

test("a dropped folder is read with all that is in it", async () => {
  const place = await app.page.getByText(words().local.label).boundingBox();
  const browser = await app.context.newCDPSession(app.page);
  const data = { items: [], files: [copyOf("dropped-tiny")], dragOperationsMask: 1 };
  const at = { x: (place?.x ?? 0) + 5, y: (place?.y ?? 0) + 5 };
  for (const type of ["dragEnter", "dragOver", "drop"] as const) {
    await browser.send("Input.dispatchDragEvent", { type, ...at, data });
  }
  await chosen("dropped-tiny");
});

test.each<[string, (folder: string) => void, RegExp]>([
  [
    "without a config",
    (folder) => rmSync(join(folder, "config.json")),
    /has no config\.json, no adapter_config\.json and no GGUF file/,
  ],
  [
    "with weights cut short",
    (folder) => truncateSync(join(folder, "model.safetensors"), 100_001),
    /model\.safetensors.*100.?001/,
  ],
  [
    "with weights of another size",
    (folder) => edit(join(folder, "config.json"), '"hidden_size": 64', '"hidden_size": 128'),
    /128/,
  ],
  [
    "of a family that cannot be trained",
    (folder) => edit(join(folder, "config.json"), '"model_type": "llama"', '"model_type": "rwkv"'),
    /model_type is "rwkv"/,
  ],
])(
  "a folder %s is refused with the reason, and nothing of it stays",
  async (name, spoil, reason) => {
    const before = await storedFiles(app.page);
    const folder = copyOf(`bad-${name.replaceAll(" ", "-")}`);
    spoil(folder);
    await pick(app.page, words().local.pickFolder, folder);
    await told(app.page, reason);
    expect(await card(app.page, basename(folder)).count()).toBe(0);
    expect(await storedFiles(app.page)).toEqual(before);
  },
);

test("a model is deleted with its files, after a question", async () => {
  await press(app.page, words().of(app.text.app.delete, "my-tiny"));
  const dialog = app.page.getByRole("dialog");
  await dialog.getByRole("button", { name: words().remove.action }).click();
  await card(app.page, "my-tiny").waitFor({ state: "detached" });
  await expect.poll(() => storedFiles(app.page, "models/my-tiny/")).toEqual({});
});

async function chosen(name: string): Promise<void> {
  await app.page.getByText(words().chosen(name), { exact: true }).waitFor();
}

/** The tiny model under another name. */
function copyOf(name: string): string {
  const folder = join(scratch, name);
  cpSync(tiny, folder, { recursive: true });
  return folder;
}

function edit(path: string, from: string, to: string): void {
  const text = readFileSync(path, "utf8");
  expect(text).toContain(from);
  writeFileSync(path, text.replace(from, to));
}
