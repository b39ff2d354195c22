// Files that are no data, or bad data: what the screen says, and that it goes on working.
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { card, named, pick, told } from "./actions.ts";
import { type App, goTo, openApp, press } from "./app.ts";
import { storedFiles } from "./stored.ts";

let app: App;

beforeAll(async () => {
  app = await openApp();
});
afterAll(() => app.close());
beforeEach(() => goTo(app, "data"));

const words = () => app.text.data;
const row = (question: string) => JSON.stringify({ instruction: question, output: "Yes." });

test.each<[string, string | Uint8Array, RegExp]>([
  ["empty.jsonl", "", /empty\.jsonl/],
  ["blank.json", " \n\n ", /blank\.json/],
  ["binary.jsonl", new Uint8Array(5000).map((_, i) => (i * 7) % 256), /binary\.jsonl/],
  ["rows.jsonl.gz", gzipSync(row("Is it?")).subarray(0, 30), /rows\.jsonl\.gz cannot be unpacked/],
  ["rows.parquet", Buffer.from("PAR1 and no more"), /rows\.parquet is no whole Parquet file/],
  ["wide.jsonl", Buffer.from(`\uFEFF${row("Is it?")}`, "utf16le"), /wide\.jsonl is UTF-16 text/],
  ["page.json", "<!doctype html><title>Sign in</title>", /page\.json is a web page/],
  ["broken.jsonl", '{"instruction": "a"\n{"instruction": \n', /broken\.jsonl/],
  ["numbers.json", "[1, 2, 3]", /numbers\.json/],
  ["deep.json", "[".repeat(100_000), /deep\.json/],
  ["strange.jsonl", '{"a": 1}\n{"a": 2}\n', /strange\.jsonl/],
])(
  "%s is refused by its name, with what to do, and leaves nothing",
  async (name, content, reason) => {
    await pick(app.page, words().add.pick, named(name, content));
    await told(app.page, reason);
    expect(await card(app.page, name).count()).toBe(0);
    expect(await storedFiles(app.page, "data/")).toEqual({});
  },
);

test("rows that cannot be read are left out, each with its number and its fault", async () => {
  const good = Array.from({ length: 20 }, (_, i) => row(`Is it ${i}?`));
  const lines = [...good, "{broken", row("Two?"), '{"instruction": 5}', row("Is it 3?")];
  await pick(app.page, words().add.pick, named("mixed.jsonl", lines.join("\n")));
  await card(app.page, "mixed.jsonl").getByText(words().list.problems("2")).waitFor();
  await view(words().shown.problems("3"));
  for (const [number, kind] of [
    ["21", words().problems.kinds.broken],
    ["23", words().problems.kinds.format],
    ["24", words().problems.kinds.duplicate],
  ] as const) {
    const place = app.page.getByRole("button", { name: words().problems.show(number) });
    await app.page.getByRole("listitem").filter({ has: place }).getByText(kind).waitFor();
  }
  // Each leads to its row.
  await press(app.page, words().problems.show("23"));
  const table = app.page.getByRole("table", { name: words().table.label("mixed.jsonl") });
  await table.getByText('"output" is missing').waitFor();
});

test("a table of unknown columns asks which is what, and is trained on then", async () => {
  const table = 'id,frage,antwort\n1,Wer bist du?,Ich bin Hone.\n2,"Mit ""Komma"", ja",Gut.\n';
  await pick(app.page, words().add.pick, named("table.csv", table));
  await card(app.page, "table.csv").getByText(words().list.needsColumns).waitFor();
  expect(await app.page.getByLabel(words().list.use("table.csv")).isDisabled()).toBe(true);
  const mapper = app.page.getByRole("group", { name: words().mapper.title });
  await mapper.getByLabel(words().mapper.input).selectOption({ label: "frage" });
  await mapper.getByLabel(words().mapper.output).selectOption({ label: "antwort" });
  await mapper.getByText("Wer bist du?").waitFor();
  await press(app.page, words().mapper.save);
  await app.page.getByText(words().mapper.mapped("frage", "antwort")).waitFor();
  await view(words().shown.table);
  await app.page.getByText('Mit "Komma", ja').waitFor();
  expect(await app.page.getByLabel(words().list.use("table.csv")).isChecked()).toBe(true);
});

test("after all of that a good file is taken", async () => {
  await pick(app.page, words().add.pick, named("good.jsonl", `${row("Well?")}\n`));
  await expect
    .poll(() => app.page.getByLabel(words().list.use("good.jsonl")).isChecked())
    .toBe(true);
  expect(await app.page.getByRole("alert").count()).toBe(0);
});

/** The radio itself is hidden below its words. */
async function view(name: string): Promise<void> {
  const views = app.page.getByRole("group", { name: words().shown.views });
  await views.getByText(name, { exact: true }).click();
}
