// Data sets while they are read and while they are mapped: nobody trains on rows that change meanwhile, and
// what a closed tab leaves is one mapping or the other, or told.
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { ColumnMapping, StoredData } from "../../src/services/api.ts";
import { importSample, importText } from "../../src/services/data-import.ts";
import { dataFile, tableRows } from "../../src/services/data-read.ts";
import {
  cleanData,
  deleteData,
  findData,
  listData,
  mapData,
  renameData,
} from "../../src/services/data-store.ts";
import { createEngineService } from "../../src/services/engine-service.ts";
import { dataSources, entryFolder } from "../../src/services/storage.ts";
import type { MemoryDisk } from "../hosts/memory-opfs.ts";
import { createFakeEngine } from "./fake-engine.ts";
import { MODEL, newRun, snapshotOf, stubSnapshot, stubStored } from "./stored.ts";

const CSV = "ask,say\none,two\nsix,ten\n";
const FORTH: ColumnMapping = { input: "ask", output: "say" };
/** Of as many bytes as the other. */
const BACK: ColumnMapping = { input: "say", output: "ask" };

let disk: MemoryDisk;
let data: StoredData;

beforeEach(async () => {
  disk = await stubStored();
  const { id } = await importText("pairs.csv", CSV);
  data = await mapData(id, FORTH);
});
afterEach(() => vi.unstubAllGlobals());

async function readSource(id: string): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for (const source of await dataSources([id])) {
    for await (const chunk of source.stream()) text += decoder.decode(chunk);
  }
  return text;
}

describe("a data set that a run reads", () => {
  test("is not deleted or mapped anew before the run ends; it may get another name", async () => {
    const engine = createFakeEngine();
    const service = createEngineService(engine);
    const { id } = await service.createRun({ ...newRun(), dataIds: [data.id] });
    let looks = 0;
    engine.beforeStep = async (step) => {
      if (step !== 2) return;
      const inUse = /^pairs\.csv is in use: a run .*\nStop that first, then /;
      await expect(deleteData(data.id)).rejects.toThrow(inUse);
      await expect(mapData(data.id, BACK)).rejects.toThrow(inUse);
      await renameData(data.id, "renamed");
      looks++;
    };
    await service.startRun(id, () => {});
    expect(looks).toBe(1);
    expect(await findData(data.id)).toMatchObject({ name: "renamed", mapping: FORTH });
    expect(await mapData(data.id, BACK)).toMatchObject({ name: "renamed", mapping: BACK });
    await deleteData(data.id);
    expect(await findData(data.id)).toBeUndefined();
  });

  test("is not deleted while it is measured", async () => {
    const engine = createFakeEngine();
    const service = createEngineService(engine);
    const refusals: unknown[] = [];
    engine.beforeStep = async () => {
      await deleteData(data.id).catch((error: unknown) => refusals.push(error));
    };
    await service.calibrate(MODEL, [data.id], newRun().config);
    expect(refusals.length).toBeGreaterThan(0);
  });
});

test("a name given while the columns are chosen is kept", async () => {
  const [, renamed] = await Promise.all([mapData(data.id, BACK), renameData(data.id, "renamed")]);
  expect(renamed.name).toBe("renamed");
  expect(await findData(data.id)).toMatchObject({ name: "renamed", mapping: BACK });
});

const TOLD = "The data set pairs.csv was left half written.\nChoose its columns again.";
const UNMAPPED =
  "Nobody has said yet which column of pairs.csv is what.\nChoose its columns first.";

/** Maps with a tab that is closed after so many operations on files; whether it came to the end. */
async function mapUntil(operations: number): Promise<boolean> {
  let left = operations;
  disk.fault = () => {
    if (left-- <= 0) throw new DOMException("the tab is closed", "AbortError");
  };
  const isDone = await mapData(data.id, BACK).then(
    () => true,
    () => false,
  );
  disk = await stubSnapshot(snapshotOf(disk));
  return isDone;
}

const messageOf = (error: Error) => error.message;

/** What a run would read, and what the table shows. */
async function lookAt({ id }: StoredData): Promise<readonly [read: string, shown: string]> {
  const record = await findData(id);
  const shown = tableRows(id, 0, 1).then(() => record?.mapping?.input ?? "source", messageOf);
  return [await readSource(id).catch(messageOf), await shown];
}

test.each([
  ["the first", false],
  ["another", true],
])(
  "a tab closed at any moment of %s choice leaves one or the other, or says so",
  async (...of) => {
    const isAnother = of[1];
    if (!isAnother) data = await importText("pairs.csv", CSV);
    const old = await lookAt(data);
    const before = snapshotOf(disk);
    await mapData(data.id, BACK);
    const back = await readSource(data.id);

    const states: (readonly [string, string])[] = [];
    const isNew = (state: readonly string[]) =>
      !states.some((known) => known.join() === state.join());
    for (let operations = 0, isDone = false; !isDone; operations++) {
      disk = await stubSnapshot(before);
      isDone = await mapUntil(operations);
      const state = await lookAt(data);
      if (isNew(state)) states.push(state);
      // Whatever was left, the columns can be chosen again, and nothing lies beside them.
      await cleanData();
      await mapData(data.id, BACK);
      expect(await readSource(data.id)).toBe(back);
      expect(await (await entryFolder("data", data.id)).list()).toEqual([
        "data.json",
        "data.jsonl",
        "index.json",
        "issues.jsonl",
        "source.jsonl",
      ]);
    }
    const between = isAnother
      ? [[TOLD, TOLD]]
      : [
          [UNMAPPED, TOLD],
          [TOLD, TOLD],
        ];
    expect(states).toEqual([old, ...between, [back, "say"]]);
  },
  60_000,
);

test("two choices of columns make rows of as many bytes, so that sizes alone tell nothing", async () => {
  const forth = await readSource(data.id);
  await mapData(data.id, BACK);
  const back = await readSource(data.id);
  expect([back === forth, back.length]).toEqual([false, forth.length]);
});

test("a full disk while the columns are chosen leaves the data set as it was", async () => {
  const forth = await readSource(data.id);
  disk.quotaBytes = disk.usedBytes() + 40;
  await expect(mapData(data.id, BACK)).rejects.toThrow("no room");
  expect(await findData(data.id)).toEqual(data);
  expect(await readSource(data.id)).toBe(forth);
  expect(await tableRows(data.id, 0, 1)).toHaveLength(1);
});

test("a data set of which nobody has named the columns is refused before a run reads it", async () => {
  const { id } = await importText("odd.csv", CSV);
  await expect(dataSources([id])).rejects.toThrow(
    "Nobody has said yet which column of odd.csv is what.",
  );
  await expect(dataFile(id)).rejects.toThrow(
    "Nobody has said yet which column of odd.csv is what.",
  );
});

test("a sample that two tabs want at once is taken in once", async () => {
  const text = '{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}\n';
  vi.stubGlobal("fetch", async () => new Response(text));
  const [one, other] = await Promise.all([
    importSample("colors", "http://page/"),
    importSample("colors", "http://page/"),
  ]);
  expect(one).toEqual(other);
  expect((await listData()).filter(({ id }) => id === one.id)).toHaveLength(1);
});
