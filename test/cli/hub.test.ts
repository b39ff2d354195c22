// Models and data sets by their ids, as a person names them: downloaded before they are used, found again without the
// hub, broken off and gone on with, and refused in words. The hub is one on this machine.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { writeTinyModel } from "../engine/tiny-folder.ts";
import { type HubServer, startHub } from "../hosts/hub-server.ts";
import { randomBytes, reset } from "../hosts/hub-use.ts";
import { CLI, environment, hone, temporaryFolder } from "./run-cli.ts";

const tiny = filesIn(writeTinyModel());
const rows = Buffer.from(
  Array.from({ length: 5 }, (_, i) =>
    JSON.stringify({ instruction: `Say ${i}`, input: "", output: `It is ${i}.` }),
  ).join("\n"),
);
let hub: HubServer;
let folder: string;

beforeAll(async () => {
  hub = await startHub();
});
afterAll(() => hub.close());
beforeEach(() => {
  reset(hub);
  hub.repos.clear();
  hub.repos.set("org/tiny", { files: { ...tiny, "README.md": Buffer.from("# Tiny") } });
  hub.repos.set("datasets/org/rows", { files: { "data/train-00000-of-00001.jsonl": rows } });
  folder = temporaryFolder();
});

const variables = (more: Record<string, string> = {}) => ({
  HF_ENDPOINT: hub.url,
  HF_HOME: join(folder, "hf"),
  HF_TOKEN: "",
  ...more,
});
const run = (args: readonly string[], more: Record<string, string> = {}) =>
  hone(args, { folder, environment: variables(more) });

test("a config with ids trains: it says what comes, and the next time nothing does", async () => {
  const config = "model: org/tiny\ndata: org/rows\nprompt_template: default\nmax_length: 32\n";
  writeFileSync(join(folder, "ids.yaml"), `${config}accumulative_counts: 1\nlora: {r: 2}\n`);
  const first = await run(["train", "ids.yaml", "--set", "max_steps=1"]);
  expect(first.stderr).toMatch(
    /Data set org\/rows: data\/train-00000-of-00001\.jsonl for the split train, by their names\./,
  );
  expect(first.stderr).toMatch(
    /Downloading org\/tiny \(main, commit [0-9a-f]{8}\): \d+ files, .* to come/,
  );
  expect(first.code, first.stderr).toBe(0);
  const adapter = join(folder, "work_dirs/ids/iter_1/adapter_config.json");
  expect(JSON.parse(readFileSync(adapter, "utf8"))).toMatchObject({
    base_model_name_or_path: "org/tiny", // where transformers finds the base too
  });
  hub.requests.length = 0;
  const chat = ["chat", "org/tiny", "--adapter", "work_dirs/ids", "--max-new-tokens", "2"];
  const again = await hone(chat, { folder, input: "Hi\n", environment: variables() });
  expect(again.code, again.stderr).toBe(0);
  expect(again.stderr).not.toContain("Downloading");
  expect(hub.requests).toEqual([]);
});

test("a model of a kind that cannot be computed is refused before its weights come", async () => {
  const config = Buffer.from('{"model_type":"mamba"}');
  hub.repos.set("org/odd", { files: { ...tiny, "config.json": config } });
  const { code, stderr } = await run(["chat", "org/odd"]);
  expect(code).toBe(1);
  expect(stderr).toContain('model_type is "mamba"');
  const asked = hub.requests.filter(({ path }) => path.endsWith("safetensors"));
  expect(asked).toEqual([]);
});

test("download prints the folder, tells events, and puts plain files where one wants them", async () => {
  const cached = await run(["download", "org/tiny"]);
  expect(cached.code, cached.stderr).toBe(0);
  expect(readdirSync(cached.stdout.trim()).toSorted()).toEqual(Object.keys(tiny).toSorted());
  const offline = await run(["download", "org/tiny"], { HF_HUB_OFFLINE: "1" });
  expect(offline.stdout).toBe(cached.stdout);

  const args = ["download", "org/rows", "--repo-type", "dataset", "--local-dir", "here", "--json"];
  const { stdout, code } = await run(args);
  expect(code).toBe(0);
  const events = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { type: string });
  expect(events[0]).toMatchObject({ type: "download", repo: "org/rows", bytes: rows.length });
  expect(events.at(-1)).toMatchObject({ type: "downloaded", folder: "here" });
  expect(readFileSync(join(folder, "here/data/train-00000-of-00001.jsonl")).equals(rows)).toBe(
    true,
  );
  expect(readdirSync(join(folder, "here")), "nothing beside it").toEqual(["data"]);

  const one = await run(["download", "org/tiny", "*.md", "--local-dir", "card"]);
  expect(one.code, one.stderr).toBe(0);
  expect(readdirSync(join(folder, "card"))).toEqual(["README.md"]);
  hub.sentBytes = 0;
  await run(["download", "org/tiny", "--local-dir", "copy"]);
  expect(readdirSync(join(folder, "copy")).toSorted()).toEqual(Object.keys(tiny).toSorted());
  expect(hub.sentBytes, "all of it was in the cache").toBe(0);
});

test("Ctrl-C keeps what came, and the same command goes on there", async () => {
  const weights = randomBytes(600_000);
  hub.repos.set("org/large", {
    files: { "config.json": Buffer.from("{}"), "model.safetensors": weights },
  });
  hub.fault = ({ path }) =>
    path.endsWith("safetensors") ? { kind: "stall", afterBytes: 300_000 } : undefined;
  const child = spawn(process.execPath, [CLI, "download", "org/large"], {
    cwd: folder,
    env: { ...environment(), ...variables() },
  });
  let stderr = "";
  child.stderr.on("data", (text: Buffer) => (stderr += text.toString()));
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  const blobs = join(folder, "hf/hub/models--org--large/blobs");
  await expect
    .poll(() => (existsSync(blobs) ? sizesIn(blobs) : []), { timeout: 20_000 })
    .toContain(300_000);
  child.kill("SIGINT");
  expect(await ended).toBe(130);
  expect(stderr).toContain("The download of org/large was stopped; what came so far is kept.");
  hub.fault = undefined;
  hub.sentBytes = 0;
  const again = await run(["download", "org/large"]);
  expect(again.code, again.stderr).toBe(0);
  expect(hub.sentBytes).toBe(weights.length - 300_000);
  expect(readFileSync(join(again.stdout.trim(), "model.safetensors")).equals(weights)).toBe(true);
});

test("two commands at once bring one model, whole", async () => {
  const both = await Promise.all([run(["download", "org/tiny"]), run(["download", "org/tiny"])]);
  const total = Object.values(tiny).reduce((sum, { length }) => sum + length, 0);
  for (const { code, stdout, stderr } of both) {
    expect(code, stderr).toBe(0);
    for (const [name, bytes] of Object.entries(tiny)) {
      expect(readFileSync(join(stdout.trim(), name)).equals(bytes), name).toBe(true);
    }
  }
  expect(hub.sentBytes, "each byte once").toBe(total);
});

test("what cannot be had is refused with what to do", async () => {
  hub.repos.set("org/gated", { files: tiny, gated: "manual", token: "hf_ok" });
  hub.repos.set("datasets/org/odd", { files: { "a.csv": rows, "b.json": rows } });
  hub.repos.set("datasets/org/script", { files: { "script.py": rows } });
  const cases: [string[], Record<string, string>, RegExp][] = [
    [
      ["org/gated"],
      {},
      /org\/gated is gated: .*\nAccept the terms at .*\/org\/gated, make a token .* HF_TOKEN/,
    ],
    [["org/gated"], { HF_TOKEN: "hf_no" }, /owner of the token in HF_TOKEN has no access yet/],
    [["org/none"], {}, /There is no model org\/none on .*, or it is private\.\nCheck the name/],
    [["org/tiny@v9"], {}, /org\/tiny has no branch, tag or commit v9/],
    [["org/tiny", "x.bin"], {}, /org\/tiny has no file x\.bin; it has /],
    [["datasets/org/odd"], {}, /is a data set, not a model/],
    [["org/odd", "--repo-type", "dataset"], {}, /several kinds.*: a\.csv .*, b\.json/],
    [
      ["org/script", "--repo-type", "dataset"],
      {},
      /made by a script \(script\.py\), which Hone never runs/,
    ],
    [["org/new"], { HF_HUB_OFFLINE: "1" }, /not in the cache .* HF_HUB_OFFLINE says to ask nobody/],
    [["https://example.com/a/b"], {}, /leads to example\.com/],
  ];
  const results = await Promise.all(cases.map(([args, more]) => run(["download", ...args], more)));
  for (const [i, { code, stderr }] of results.entries()) {
    expect(stderr).toMatch(cases[i]![2]);
    expect(code).toBe(1);
    expect(stderr).not.toContain("hf_no");
  }
  const ok = await run(["download", "org/gated"], { HF_TOKEN: "hf_ok" });
  expect(ok.code, ok.stderr).toBe(0);
});

test("a path with a mistake in it is no id, and the hub is not asked", async () => {
  mkdirSync(join(folder, "data"));
  for (const name of ["./org/tiny", "data/none.jsonl", "none"]) {
    const { code, stderr } = await run(["chat", name]);
    expect(code).toBe(1);
    expect(stderr).toContain(`There is no model "${name}"`);
    expect(hub.requests).toEqual([]);
  }
});

function filesIn(path: string): Record<string, Uint8Array> {
  return Object.fromEntries(
    readdirSync(path).map((name) => [name, readFileSync(join(path, name))]),
  );
}

function sizesIn(path: string): number[] {
  return readdirSync(path).map((name) => readFileSync(join(path, name)).length);
}
