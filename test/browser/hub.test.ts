// Downloads from a hub on this machine, by the screens: what is known before, what goes wrong on the way, and
// a shared adapter.
import type { Page } from "playwright-core";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { formatBytes } from "../../src/base/format.ts";
import { type Fault, type HubServer, startHub } from "../hosts/hub-server.ts";
import { adapterFiles, bytesOf, tiny } from "../services/model-tab.ts";
import { card, told } from "./actions.ts";
import { type App, goTo, openApp, press } from "./app.ts";
import { storedFiles } from "./stored.ts";

const WEIGHTS = "model.safetensors";
/** For one matrix of the first layer. */
const adapter = adapterFiles({ base_model_name_or_path: "org/tiny", layers_to_transform: [0] });
const WAIT = { timeout: 60_000 };
/** More than comes before a stall. */
const rows = Buffer.from(
  Array.from({ length: 900 }, (_, i) =>
    JSON.stringify({ prompt: `Say ${i}`, completion: `${"so ".repeat(100)}${i}` }),
  ).join("\n"),
);
let hub: HubServer;
let app: App;

beforeAll(async () => {
  hub = await startHub();
  // Distinct files, so that each repo has a commit of its own.
  for (const name of ["whole", "cut", "left", "flipped", "spoiled", "stopped", "tiny"]) {
    hub.repos.set(`org/${name}`, { files: { ...tiny, LICENSE: Buffer.from(name) } });
  }
  hub.repos.set("org/adapter", { files: adapter });
  hub.repos.set("datasets/org/rows", { files: { "train.jsonl": rows, "test.jsonl": rows } });
  hub.repos.set("org/gated", { files: tiny, gated: "manual" });
  hub.repos.set("org/pickle", {
    files: { "config.json": Buffer.from("{}"), "x.bin": Buffer.alloc(9) },
  });
  // The browser's own words on connections that are cut, and on what is not there.
  app = await openApp({ hub: hub.url, expected: [/Failed to load resource|net::ERR/] });
});
afterAll(async () => {
  await app.close(); // fails where anybody but the hub was asked
  await hub.close();
});
beforeEach(async () => {
  hub.fault = undefined;
  await goTo(app, "model");
});

const words = () => app.text.library.model;

test("size, facts and whether it fits are told before a byte of the weights comes", async () => {
  await lookUp("org/whole");
  const { page } = app;
  await page
    .getByRole("button", { name: words().hub.download(formatBytes(total("whole"))) })
    .waitFor();
  await page.getByText(words().card.tokens("512"), { exact: true }).waitFor();
  await page.getByText(app.text.app.verdicts.fits).first().waitFor();
  // Their header is read, by its range.
  expect(startsOf("whole")).toEqual([]);
  await download("whole");
  await arrived("whole");
  const files = Object.entries(await storedFiles(page, filesOf("whole")));
  const bytes = files.flatMap(([path, size]) => (path.includes("/files/") ? [size] : []));
  expect(bytes.reduce((sum, size) => sum + size)).toBe(total("whole"));
});

test.each([
  ["a pasted address", () => `${hub.url}/org/whole/tree/main`],
  ["an id with a revision", () => "org/whole@main"],
])("%s names the same, which is here already", async (_name, text) => {
  await lookUp(text());
  await app.page.getByText(words().hub.isHere).waitFor();
});

test("what cannot be used is refused before a download, with the reason", async () => {
  await lookUp("org/gated");
  await told(app.page, /org\/gated is gated/);
  await lookUp("org/pickle");
  await told(app.page, /has its weights in x\.bin alone/);
  await lookUp("org/missing");
  await told(app.page, /org\/missing/);
  await lookUp("not a model");
  await told(app.page, /not a model/);
});

test("a connection that is cut goes on where it was, without a byte twice", async () => {
  await lookUp("org/cut");
  hub.fault = once({ kind: "cut", afterBytes: 200_001, afterMs: 500 });
  await download("cut");
  await arrived("cut");
  expect(startsOf("cut")).toEqual([0, 200_001]);
});

test("a reload in the middle leaves a part that goes on", async () => {
  await lookUp("org/left");
  hub.fault = always({ kind: "stall", afterBytes: 200_001 });
  await download("left");
  await expect.poll(() => partBytes(app.page, "left"), WAIT).toBe(200_001);
  await app.page.reload();
  const partial = card(app.page, "org/left");
  await partial.getByText(words().partial.badge).first().waitFor();
  hub.fault = undefined;
  await press(app.page, words().of(words().partial.goOn, "org/left"));
  await arrived("left");
  expect(startsOf("left")).toEqual([0, 200_001]);
});

test("a flipped bit is noticed and mended", async () => {
  await lookUp("org/flipped");
  hub.fault = once({ kind: "flip", at: 300_003, bit: 5 });
  await download("flipped");
  await arrived("flipped");
  // The wrong bytes, and then all of the right ones.
  expect(startsOf("flipped")).toEqual([0, 0]);
});

test("a file that always comes with another bit is refused, and comes right when the hub does", async () => {
  await lookUp("org/spoiled");
  hub.fault = always({ kind: "flip", at: 300_003, bit: 5 });
  await download("spoiled");
  await told(
    app.page,
    /model\.safetensors came as other bytes than the hub lists: its SHA-256 is wrong/,
  );
  expect(Object.keys(await storedFiles(app.page, filesOf("spoiled"))).join()).not.toContain(
    WEIGHTS,
  );
  hub.fault = undefined;
  await press(app.page, app.text.app.dismiss);
  await press(app.page, words().of(words().partial.goOn, "org/spoiled"));
  await arrived("spoiled");
});

test("a download is stopped, stays in part, and is deleted", async () => {
  await lookUp("org/stopped");
  hub.fault = always({ kind: "stall", afterBytes: 200_001 });
  await download("stopped");
  await expect.poll(() => partBytes(app.page, "stopped"), WAIT).toBe(200_001);
  await press(app.page, words().of(words().transfer.cancel, "org/stopped"));
  await card(app.page, "org/stopped").getByText(words().partial.badge).first().waitFor();
  await press(app.page, words().of(app.text.app.delete, "org/stopped"));
  const dialog = app.page.getByRole("dialog");
  await dialog.getByRole("button", { name: words().remove.action }).click();
  await card(app.page, "org/stopped").waitFor({ state: "detached" });
  await expect.poll(() => storedFiles(app.page, "models/org-stopped")).toEqual({});
});

test("a share link says what it would fetch, fetches it and its base, and opens both", async () => {
  const page = await app.context.newPage();
  await page.goto(`${app.url}#/try?adapter=org/adapter`);
  const { share, choose } = app.text.live.tryout;
  const asked = total("tiny") + bytesOf(adapter);
  await page.getByText("org/tiny").waitFor();
  expect(startsOf("tiny")).toEqual([]);
  await press(page, share.fetch(formatBytes(asked)));
  await page.getByRole("button", { name: choose.close }).waitFor();
  expect(await page.getByLabel(choose.adapter).inputValue()).not.toBe("none");
  await page.close();
});

test("a data set by its id goes on after a reload, and its rows are chosen", async () => {
  await goTo(app, "data");
  const { page } = app;
  const { hub: data } = app.text.data;
  const find = async (text: string) => {
    await page.getByLabel(data.label).fill(text);
    await press(page, data.find);
    await page.getByText(data.finding(text)).waitFor({ state: "detached" });
  };
  await find("org/none");
  await told(page, /The data set org\/none/);
  await find("org/tiny/deep/path");
  await told(page, /The data set org\/tiny/);
  await find("org/rows");
  hub.fault = ({ path }) =>
    path.endsWith("train.jsonl") ? { kind: "stall", afterBytes: 100_000 } : undefined;
  await press(page, data.download(formatBytes(rows.length)));
  const part = async () => Object.values(await storedFiles(page, "downloads/org-rows-"));
  await expect.poll(part, WAIT).toContain(100_000);
  await page.reload();
  await press(page, data.goOnWith("org/rows (train)"));
  hub.fault = undefined;
  await page.getByText(data.arrived("org/rows (train)")).first().waitFor();
  const added = card(page, "org/rows (train)");
  await added.getByText(app.text.data.list.rows("900")).waitFor();
  await expect.poll(() => added.getByRole("checkbox").isChecked(), WAIT).toBe(true);
  await expect.poll(part, WAIT).toEqual([]);
  const from = hub.requests.filter(
    ({ path }) => path.includes("/rows/") && path.endsWith("train.jsonl"),
  );
  expect(from.map(({ range }) => range).filter(Boolean)).toContain("bytes=100000-");
});

async function lookUp(text: string): Promise<void> {
  await app.page.getByLabel(words().hub.label).fill(text);
  await press(app.page, words().hub.find);
  await app.page.getByText(words().hub.finding(text)).waitFor({ state: "detached" });
}

async function download(name: string): Promise<void> {
  await press(app.page, words().hub.download(formatBytes(total(name))));
}

async function arrived(name: string): Promise<void> {
  const notice = app.page
    .getByRole("status")
    .filter({ hasText: words().hub.arrived(`org/${name}`) });
  await notice.waitFor();
  await notice.getByRole("button").click();
  await card(app.page, `org/${name}`)
    .getByText(formatBytes(total(name)))
    .waitFor();
}

function total(name: string): number {
  return bytesOf(hub.repos.get(`org/${name}`)!.files);
}

/** Where a repo's complete files begin; the id goes on with a checksum. */
function filesOf(name: string): string {
  return `models/org-${name}-`;
}

async function partBytes(page: Page, name: string): Promise<number> {
  const files = Object.entries(await storedFiles(page, filesOf(name)));
  return files.find(([path]) => path.endsWith(`/partial/${WEIGHTS}`))?.[1] ?? 0;
}

/** At every request for weights, but for those for their header. */
function always(fault: Fault): HubServer["fault"] {
  return ({ path, range = "bytes=0-" }) =>
    path.endsWith(WEIGHTS) && range.endsWith("-") ? fault : undefined;
}

/** At the first such request alone. */
function once(fault: Fault): HubServer["fault"] {
  const play = always(fault);
  return (request) => {
    const played = play?.(request);
    if (played) hub.fault = undefined;
    return played;
  };
}

/** From which byte on a repo's weights were asked for, in order; headers are asked for up to an end. */
function startsOf(repo: string): number[] {
  return hub.requests.flatMap(({ path, range = "bytes=0-" }) => {
    const isWeights = path.startsWith(`/storage/org/${repo}/`) && path.endsWith(WEIGHTS);
    const start = /^bytes=(\d+)-$/.exec(range)?.[1];
    return isWeights && start !== undefined ? [Number(start)] : [];
  });
}
