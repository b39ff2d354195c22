// The commands about data, as processes: product to stdout, words to stderr, and their exit codes. No GPU.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { hone, temporaryFolder } from "./run-cli.ts";

/** A folder with a config and data of two rows, and what else a test puts into the data. */
function folderWith(...lines: readonly string[]): string {
  const folder = temporaryFolder();
  const rows = ['{"input": "Who?", "output": "Me."}', '{"input": "What?", "output": "This."}'];
  writeFileSync(join(folder, "rows.jsonl"), [...rows, ...lines].join("\n"));
  writeFileSync(join(folder, "c.yaml"), "model: seedling\ndata: rows.jsonl\nmax_length: 64\n");
  return folder;
}

test("log-dataset prints a row under XTuner's banners; what became of all rows goes to stderr", async () => {
  const folder = folderWith();
  const args = ["log-dataset", "c.yaml", "--show", "all", "--set", "pack_to_max_length=false"];
  const { code, stdout, stderr } = await hone(args, { folder });
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining("Read: 2 rows.") });
  const titles = [...stdout.matchAll(/^#{20} {3}(.*?) {3}#{20}$/gm)].map(([, title]) => title);
  expect(titles).toEqual(["text", "text(masked)", "input_ids", "labels"]);
  expect(stdout).toMatch(/^\[learned ×\d+\] Me\.<\|im_end\|>$/m);

  const beyond = await hone(["log-dataset", "c.yaml", "--row", "9"], { folder });
  expect(beyond).toMatchObject({ code: 2, stdout: "" });
  expect(beyond.stderr).toContain("There is no row 9: the data set has 1, from 0 to 0.");
});

test("log-dataset --json is one event with the row's tokens", async () => {
  const { code, stdout } = await hone(["log-dataset", "c.yaml", "--json"], {
    folder: folderWith(),
  });
  expect(code).toBe(0);
  const [event, ...others] = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as unknown);
  expect(others).toEqual([]);
  expect(event).toMatchObject({ type: "row", row: 0, rows: 1, inputIds: expect.any(Array) });
});

test("check-dataset exits with 1 for rows that cannot be read, and with 0 for what is only doubtful", async () => {
  const sound = await hone(["check-custom-dataset", "c.yaml"], { folder: folderWith() });
  expect(sound).toMatchObject({ code: 0, stdout: expect.stringContaining("Nothing is wrong.") });
  const folder = folderWith("{oops");
  const { code, stdout } = await hone(["check-dataset", "c.yaml", "--rows", "1"], { folder });
  expect(code).toBe(1);
  expect(stdout).toMatch(/^Wrong: 1 row cannot be read\. The first: rows\.jsonl, line 3/m);
  expect(stdout).toContain("dataset after `dataset_map_fn`");
  expect(await hone(["check-dataset", "c.yaml", "--rows", "0"], { folder })).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("It takes a whole number, 1 or more."),
  });
});

test("preprocess arxiv writes a list once, and never over a file", async () => {
  const folder = temporaryFolder();
  const row = '{"id":"1","categories":"cs.AI x","update_date":"2024-01-01"}';
  writeFileSync(join(folder, "dump.json"), `${row}\n{oops\n`);
  const args = ["preprocess", "arxiv", "dump.json", "out.json"];
  const first = await hone(args, { folder });
  expect(first).toMatchObject({ code: 0, stdout: "Save to out.json\n1 items\n" });
  expect(first.stderr).toContain("Failed to parse line: {oops");
  const written = readFileSync(join(folder, "out.json"), "utf8");
  expect(written).toBe('[{"id": "1", "categories": "cs.AI x", "update_date": "2024-01-01"}]');
  expect(await hone(args, { folder })).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("out.json is there already."),
  });
  expect(await hone(["preprocess", "refcoco", "--x", "y"], { folder })).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("refcoco is about pictures"),
  });
});

test("hone test needs questions", async () => {
  const folder = folderWith();
  expect(await hone(["test", "c.yaml"], { folder })).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("c.yaml names no test_data"),
  });
});
