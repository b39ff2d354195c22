// Records of runs, kept beside their work directories: what they say is made true before anybody sees it.
//
// A record says "running" while its run's lock is held, by whichever tab. One that says so while the lock is
// free was left by a tab that is gone. Every change is read, made and written under one lock of all tabs;
// the list is only read, and takes that lock for those it has to correct.
import { UserError } from "../base/error.ts";
import type { Folder } from "../base/folder.ts";
import { isJsonObject } from "../formats/json.ts";
import { stepOf } from "../train/checkpoint.ts";
import type { NewRun, RunHistory, RunRecord } from "./api.ts";
import { broadcast } from "./broadcast.ts";
import {
  heldLocks,
  RECORDS_LOCK,
  type Release,
  runLock,
  takeLock,
  takeLocks,
  withLock,
} from "./locks.ts";
import { findCheckpoints, findProgress, parseRecord, readMetrics } from "./run-record.ts";
import {
  checkId,
  DATA_RECORD,
  entryFolder,
  entryIds,
  makeId,
  MODEL_RECORD,
  readRecord,
  runFolder,
  shelfFolder,
  writeRecord,
} from "./storage.ts";

const RECORD = "run.json";
const WORK = "work";
/** The adapter that a run begins with, copied from its parent: the parent may go. */
const START = "start";

/** Records that are read at a time. */
const READERS = 16;

/** The newest first. A record that cannot be read is left out. */
export async function listRecords(): Promise<readonly RunRecord[]> {
  const held = await heldLocks();
  const ids = (await entryIds("runs")).values();
  const records: RunRecord[] = [];
  const read = async () => {
    for (const id of ids) {
      const record = await lookAt(id, held).catch(() => undefined);
      if (record) records.push(record);
    }
  };
  await Promise.all(Array.from({ length: READERS }, read));
  return records.toSorted((a, b) => (a.createdAt < b.createdAt ? 1 : -1));
}

/** As it is written, unless it says of a tab that is gone that it trains. */
async function lookAt(id: string, held: ReadonlySet<string>): Promise<RunRecord> {
  const record = await load(await runFolder(id), id).catch(() => undefined);
  // Nobody's, or one that was just being written.
  const isDoubtful = !record || (isUnderWay(record) && !held.has(runLock(id)));
  return isDoubtful ? readRun(id) : record;
}

export async function readRun(id: string): Promise<RunRecord> {
  return withLock(RECORDS_LOCK, async () => loadTrue(id, await heldLocks()));
}

/** `before` puts into the new run's folder what has to be there when its record is. */
export async function createRun(
  run: NewRun,
  before: (folder: Folder) => Promise<void>,
): Promise<RunRecord> {
  const model = await describeModel(run.modelId);
  const data = await Promise.all(run.dataIds.map(dataName));
  const { id, release } = await takeNewId(run.name);
  try {
    const folder = await runFolder(id);
    await before(folder);
    const record = newRecord(id, run, model, data);
    await writeRecord(folder, RECORD, record);
    broadcast({ type: "changed", what: "runs" });
    return record;
  } catch (error) {
    await (await shelfFolder("runs")).remove(id).catch(() => {}); // the first failure is the one to tell
    throw error;
  } finally {
    release();
  }
}

/** An id, and its lock: until there is a record, that says that the folder is somebody's. */
async function takeNewId(name: string): Promise<{ id: string; release: Release }> {
  return withLock(RECORDS_LOCK, async () => {
    const prefix = runLock("");
    const taken = [...(await heldLocks())].flatMap((lock) =>
      lock.startsWith(prefix) ? [lock.slice(prefix.length)] : [],
    );
    const id = makeId(name, [...(await entryIds("runs")), ...taken]);
    return { id, release: await takeLocks([runLock(id)]) };
  });
}

function newRecord(
  id: string,
  { name, modelId, dataIds, config, parent }: NewRun,
  model: { readonly name: string; readonly path: string },
  data: readonly string[],
): RunRecord {
  const now = new Date().toISOString();
  return {
    id,
    name,
    notes: "",
    createdAt: now,
    changedAt: now,
    modelId,
    modelName: model.name,
    dataIds,
    dataName: data.join(", "),
    // As the command line would name them.
    config: {
      ...config,
      model: model.path,
      data,
      work_dir: `work_dirs/${id}`,
      load_from: parent ? `work_dirs/${parent.runId}/${parent.checkpoint}` : "",
    },
    status: "new",
    step: 0,
    steps: Math.max(0, config.max_steps),
    finalLoss: null,
    checkpoint: null,
    checkpoints: [],
    parent: parent ?? null,
    error: null,
  };
}

export async function changeRun(id: string, change: Partial<RunRecord>): Promise<RunRecord> {
  return withLock(RECORDS_LOCK, async () => {
    const record = await loadTrue(id, await heldLocks());
    return store({ ...record, ...change });
  });
}

/** Removes a run that nobody is at. */
export async function removeRun(id: string): Promise<void> {
  checkId(id);
  const release = await takeLock(runLock(id), { ifAvailable: true });
  if (!release) {
    throw new UserError("This run is under way, so it stays.", "Stop it first.");
  }
  try {
    await withLock(RECORDS_LOCK, async () => {
      // The record first: a folder without one is no run, and goes at the next start.
      await (await runFolder(id)).remove(RECORD);
      await (await shelfFolder("runs")).remove(id);
    });
  } finally {
    release();
  }
  broadcast({ type: "changed", what: "runs" });
}

/** Removes what is left of runs whose removal or making was cut off. */
export async function cleanRuns(): Promise<void> {
  await withLock(RECORDS_LOCK, async () => {
    const shelf = await shelfFolder("runs");
    const held = await heldLocks();
    for (const id of await entryIds("runs")) {
      const isRun = (await shelf.size(`${id}/${RECORD}`)) !== undefined;
      if (!isRun && !held.has(runLock(id))) await shelf.remove(id);
    }
  });
}

/** The engine's work directory. */
export async function workFolder(id: string): Promise<Folder> {
  return (await runFolder(id)).folder(WORK);
}

/** Where a new run keeps the adapter that it begins with. */
export function startFolder(run: Folder): Folder {
  return run.folder(START);
}

/** One complete checkpoint of a run. */
export async function checkpointFolder(id: string, checkpoint: string): Promise<Folder> {
  const work = await workFolder(id);
  if (stepOf(checkpoint) >= 0 && (await work.size(`${checkpoint}/state.json`)) !== undefined) {
    return work.folder(checkpoint);
  }
  throw new UserError(
    `The run "${id}" has no complete checkpoint ${checkpoint}; it keeps the newest ones only.`,
    "Choose one of those it has.",
  );
}

export async function readHistory(id: string): Promise<RunHistory> {
  return readMetrics(await workFolder(id));
}

// ---------------------------------------------------------------- changes are under RECORDS_LOCK

/** What a tab that is gone left is corrected, here and, where there is room, in the record. */
async function loadTrue(id: string, held: ReadonlySet<string>): Promise<RunRecord> {
  const folder = await runFolder(id);
  const record = await load(folder, id);
  if (held.has(runLock(id)) || record.status === "new") return record;
  const work = folder.folder(WORK);
  const isAbandoned = isUnderWay(record);
  const { checkpoint, checkpoints } = await findCheckpoints(work);
  const isKnown =
    checkpoint === record.checkpoint && checkpoints.join() === record.checkpoints.join();
  if (isKnown && !isAbandoned) return record;
  const status = isAbandoned ? "interrupted" : record.status;
  const truth = { ...record, ...(await findProgress(work)), status };
  return store(truth).catch(() => truth);
}

async function load(folder: Folder, id: string): Promise<RunRecord> {
  const json = await readRecord(folder, RECORD);
  if (json !== undefined) return parseRecord(json, `${folder.path}/${RECORD}`);
  throw new UserError(
    `There is no run "${id}" in this browser's storage.`,
    "Choose one of the list; it may have been deleted in another tab.",
  );
}

function isUnderWay({ status }: RunRecord): boolean {
  return status === "running" || status === "paused";
}

async function store(record: RunRecord): Promise<RunRecord> {
  const changed = { ...record, changedAt: new Date().toISOString() };
  await writeRecord(await runFolder(record.id), RECORD, changed);
  return changed;
}

/** What people call a model, and what a config calls it. */
async function describeModel(id: string): Promise<{ name: string; path: string }> {
  const record = await readRecord(await entryFolder("models", id), MODEL_RECORD);
  const { name, origin } = isJsonObject(record) ? record : {};
  const called = typeof name === "string" ? name : id;
  const from = isJsonObject(origin) ? origin : {};
  const path = from["kind"] === "embedded" ? "seedling" : called;
  return { name: called, path };
}

async function dataName(id: string): Promise<string> {
  const record = await readRecord(await entryFolder("data", id), DATA_RECORD);
  return isJsonObject(record) && typeof record["name"] === "string" ? record["name"] : id;
}
