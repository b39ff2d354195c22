// A run's record as text, and what its work directory says about it.
import type { Folder } from "../base/folder.ts";
import { UserError } from "../base/error.ts";
import { parseConfig } from "../config/read.ts";
import { parseMetrics } from "../engine/runs/run-log.ts";
import { isJsonObject, type JsonObject } from "../formats/json.ts";
import { listCheckpoints, readLastCheckpoint, stepOf } from "../train/checkpoint.ts";
import type { RunHistory, RunRecord, RunStatus } from "./api.ts";

const METRICS = "metrics.jsonl";
/** Of the end of it that is read first: some hundred lines. */
const TAIL_BYTES = 1 << 16;

const STATUSES: readonly RunStatus[] = [
  "new",
  "running",
  "paused",
  "stopped",
  "interrupted",
  "finished",
  "failed",
];

/** Reads a record, or refuses one that this version cannot have written. */
export function parseRecord(json: unknown, place: string): RunRecord {
  const record: JsonObject = isJsonObject(json) ? json : {};
  const text = (key: string): string => expectType(record[key], isText, place, key);
  const texts = (key: string) => expectType(record[key], isTexts, place, key);
  const orNull = <T>(key: string, is: (value: unknown) => value is T): T | null =>
    record[key] === null ? null : expectType(record[key], is, place, key);
  return {
    id: text("id"),
    name: text("name"),
    notes: text("notes"),
    createdAt: text("createdAt"),
    changedAt: text("changedAt"),
    modelId: text("modelId"),
    modelName: text("modelName"),
    dataIds: texts("dataIds"),
    dataName: text("dataName"),
    config: parseConfig(record["config"], place),
    status: expectType(record["status"], isStatus, place, "status"),
    step: expectType(record["step"], isNumber, place, "step"),
    steps: expectType(record["steps"], isNumber, place, "steps"),
    finalLoss: orNull("finalLoss", isNumber),
    checkpoint: orNull("checkpoint", isText),
    checkpoints: texts("checkpoints"),
    parent: orNull("parent", isParent),
    error: orNull("error", isText),
  };
}

/** Complete checkpoints, oldest first, and the one that a run goes on from. */
export async function findCheckpoints(
  work: Folder,
): Promise<Pick<RunRecord, "checkpoint" | "checkpoints">> {
  const checkpoints: string[] = [];
  for (const name of await listCheckpoints(work)) {
    // Written last: without it the folder is what a closed tab left of one.
    if ((await work.size(`${name}/state.json`)) !== undefined) checkpoints.push(name);
  }
  const last = await readLastCheckpoint(work);
  const checkpoint = checkpoints.find((name) => name === last) ?? checkpoints.at(-1) ?? null;
  return { checkpoint, checkpoints };
}

/** How far a run has come that nobody runs: to its checkpoint, since it goes on from there. */
export async function findProgress(
  work: Folder,
): Promise<Pick<RunRecord, "checkpoint" | "checkpoints" | "step" | "finalLoss">> {
  const found = await findCheckpoints(work);
  const step = found.checkpoint === null ? 0 : stepOf(found.checkpoint);
  return { ...found, step, finalLoss: await findLoss(work, step) };
}

export async function readMetrics(work: Folder): Promise<RunHistory> {
  const isThere = (await work.size(METRICS)) !== undefined;
  return parseMetrics(isThere ? await work.readText(METRICS) : "");
}

/** The loss of a step, looked for from the end of the file: that of a checkpoint is never far from there. */
async function findLoss(work: Folder, step: number): Promise<number | null> {
  const size = (await work.size(METRICS)) ?? 0;
  if (step === 0 || size === 0) return null;
  for (let tail = TAIL_BYTES; ; tail *= 2) {
    const start = Math.max(0, size - tail);
    const text = new TextDecoder().decode(await work.read(METRICS, start, size));
    // What comes before the first end of a line is the rest of one.
    const lines = start === 0 ? text : text.slice(text.indexOf("\n") + 1);
    const last = parseMetrics(lines).steps.findLast((report) => report.step <= step);
    if (last?.step === step) return finiteOrNull(last.loss);
    if (last || start === 0) return null;
  }
}

/** A loss as JSON can keep it. */
export function finiteOrNull(loss: number | undefined): number | null {
  return loss !== undefined && Number.isFinite(loss) ? loss : null;
}

function expectType<T>(
  value: unknown,
  is: (value: unknown) => value is T,
  place: string,
  key: string,
): T {
  if (is(value)) return value;
  throw new UserError(
    `${place} is damaged: "${key}" is ${JSON.stringify(value)?.slice(0, 60)}.`,
    "Delete this run; its record cannot be read.",
  );
}

const isText = (value: unknown) => typeof value === "string";
const isNumber = (value: unknown) => typeof value === "number";
const isTexts = (value: unknown): value is string[] => Array.isArray(value) && value.every(isText);
const isStatus = (value: unknown): value is RunStatus =>
  STATUSES.some((status) => status === value);
const isParent = (value: unknown): value is NonNullable<RunRecord["parent"]> =>
  isJsonObject(value) && isText(value["runId"]) && isText(value["checkpoint"]);
