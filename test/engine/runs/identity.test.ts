// A run is resumed on what it began with, wherever that lies now; on anything else it is refused, in words.
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Folder } from "../../../src/base/folder.ts";
import { parseConfig } from "../../../src/config/read.ts";
import { prepareRun } from "../../../src/engine/runs/prepare-run.ts";
import { refuseChangedRun } from "../../../src/engine/runs/run-identity.ts";
import { nodeHost, openDataSource, openFolder } from "../../../src/hosts/node.ts";
import { temporaryFolder, tinyRows, writeTinyData, writeTinyModel } from "../tiny-folder.ts";

const host = nodeHost({ adapter: "swiftshader" }); // which is never asked for
const model = writeTinyModel();
const data = writeTinyData();
const began = await identityOf(openFolder(model), data);

type Identity = Readonly<Record<string, unknown>>;

async function identityOf(
  folder: Folder,
  dataPath: string,
  changes: object = {},
): Promise<Identity> {
  const base = { model: folder.path, data: [dataPath], max_length: 64 };
  const { prepared } = await prepareRun(host, {
    config: parseConfig({ ...base, ...changes }, "the test"),
    model: folder,
    data: [await openDataSource(dataPath)],
    workDir: openFolder(temporaryFolder()),
    onEvent: () => {},
  });
  return prepared.identity;
}

/** What is said of resuming a run that began as `then`, as its state.json keeps it. */
function fault(now: Identity, then: Identity = began): string {
  try {
    refuseChangedRun(now, { run: JSON.parse(JSON.stringify(then)) as Identity }, "w/iter_4");
    return "";
  } catch (error) {
    return String(error);
  }
}

function copyOfModel(): string {
  const path = temporaryFolder();
  cpSync(model, path, { recursive: true });
  return path;
}

function writeRows(name: string, text: string): string {
  const path = join(temporaryFolder(), name);
  writeFileSync(path, text);
  return path;
}

/** Changes every number of one tensor. */
function changeTensor(path: string, name: string): void {
  const file = join(path, "model.safetensors");
  const bytes = readFileSync(file);
  const headerBytes = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + headerBytes).toString()) as Record<
    string,
    { data_offsets: [number, number] }
  >;
  const [start, end] = header[name]!.data_offsets;
  for (let at = 8 + headerBytes + start; at < 8 + headerBytes + end; at += 2) bytes[at]! ^= 1;
  writeFileSync(file, bytes);
}

test("the same model elsewhere, and the same rows in another file, are the same run", async () => {
  const moved = copyOfModel();
  const config = join(moved, "config.json");
  const json = JSON.parse(readFileSync(config, "utf8")) as object;
  writeFileSync(config, JSON.stringify({ transformers_version: "9.9.9", ...json }));
  const lines = tinyRows(40).map((row) => `${JSON.stringify(row)}\n`);
  const now = await identityOf(openFolder(moved), writeRows("d.jsonl", lines.join("")));
  expect(fault(now)).toBe("");
});

test.each([
  "model.embed_tokens.weight",
  "model.layers.1.mlp.down_proj.weight",
  "model.layers.0.input_layernorm.weight",
])("other weights of the same shapes are refused: %s", async (name) => {
  const changed = copyOfModel();
  changeTensor(changed, name);
  expect(fault(await identityOf(openFolder(changed), data))).toBe(
    "UserError: w/iter_4 belongs to a run with other options, weights or data: other weights: the model's are not those that the run began with.\n" +
      "Resume with the config.yaml in the work directory and the same model and data, or start a new run in another folder.",
  );
});

test("another config.json of the same weights is refused where it changes numbers", async () => {
  const changed = copyOfModel();
  const config = join(changed, "config.json");
  const json = JSON.parse(readFileSync(config, "utf8")) as object;
  writeFileSync(config, JSON.stringify({ ...json, rope_theta: 20000 }));
  const said = fault(await identityOf(openFolder(changed), data));
  expect(said).toContain("another config.json of the model");
  expect(said).not.toContain("other weights:");
});

test.each([
  // The digits are a token each: the counts stay as they are.
  ["a digit is another", (rows: string) => rows.replace("It is 10.", "It is 11.")],
  ["two rows have changed places", (rows: string) => swapRows(rows)],
  ["another text is learned", (rows: string) => rows.replace("is 3 plus 3?", "is 3 plus 4?")],
])("other data of as many rows and tokens are refused: %s", async (_, change) => {
  const text = JSON.stringify(tinyRows(40));
  const changed = change(text);
  expect(changed).not.toBe(text);
  const now = await identityOf(openFolder(model), writeRows("d.json", changed));
  expect(now["data"]).toEqual(began["data"]);
  expect(fault(now)).toContain("other data: as many rows and tokens, but not the same.");
});

function swapRows(text: string): string {
  const [first, second, ...rest] = JSON.parse(text) as unknown[];
  return JSON.stringify([second, first, ...rest]);
}

test("an option that changes the tokens is told alone, not as other data", async () => {
  const said = fault(await identityOf(openFolder(model), data, { system: "Be brief.", seed: 7 }));
  expect(said).toContain('system was "" and is "Be brief."');
  expect(said).toContain("seed was 42 and is 7");
  expect(said).not.toContain("other data:");
});

test("a checkpoint of before there were fingerprints still resumes, on the same counts", async () => {
  const { fingerprints: _, ...old } = began;
  const changed = copyOfModel();
  changeTensor(changed, "model.embed_tokens.weight");
  expect(fault(await identityOf(openFolder(changed), data), old)).toBe("");
  expect(fault(await identityOf(openFolder(model), writeTinyData(41)), old)).toContain("data was");
});

test("an option that a checkpoint does not know counts as its default", async () => {
  const { compat: _, shuffle_before_pack: __, lora, ...old } = began;
  const { use_rslora: ___, ...oldLora } = lora as Record<string, unknown>;
  const then = { ...old, lora: oldLora };
  expect(fault(began, then)).toBe("");
  const changed = { shuffle_before_pack: false, lora: { use_rslora: true } };
  const said = fault(await identityOf(openFolder(model), data, changed), then);
  expect(said).toContain("shuffle_before_pack was true and is false");
  expect(said).toContain("lora.use_rslora was false and is true");
});

test("of the weights next to nothing is read", async () => {
  const folder = openFolder(model);
  let bytesRead = 0;
  const watched: Folder = {
    ...folder,
    async read(name, ...range) {
      const bytes = await folder.read(name, ...range);
      if (name.endsWith(".safetensors")) bytesRead += bytes.length;
      return bytes;
    },
  };
  await identityOf(watched, data);
  expect(bytesRead).toBeLessThan(30_000); // of 440 kB
});
