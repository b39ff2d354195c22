// Checkpoints: all that a run needs to go on bit for bit, in a folder that is also a PEFT adapter.
//
// A checkpoint is written under another name and appears by rename, whole, or not at all. state.json is
// written last and holds the SHA-256 of the other files, so that a damaged one is known for what it is.
import type { Folder } from "../base/folder.ts";
import { messageOf, UserError } from "../base/error.ts";
import type { Choices } from "../gpu/choices.ts";
import type { Gpu } from "../gpu/device.ts";
import { readF32, type StoredTensor, write } from "../gpu/tensor.ts";
import { type Adapter, type LoraMatrices, type LoraTarget } from "../model/adapter.ts";
import {
  adapterFileBytes,
  collectMatrices,
  decodeTensors,
  encodeMatrices,
} from "../model/files/adapter-files.ts";
import { ADAPTER_WEIGHTS } from "../model/files/adapter-folder.ts";
import type { LinearShape } from "../model/linears.ts";

const OPTIMIZER = "optimizer.safetensors";
const STATE = "state.json";
const LAST = "last_checkpoint";
// XTuner's checkpoints are files of the second kind of name; under its compat ours are folders called so.
const NAME = /^iter_(\d+)(?:\.pth)?$/;

/** There is nothing to resume from. */
export class NoCheckpointError extends UserError {
  override readonly name = "NoCheckpointError";
}

/** A folder without a state.json, which is written last: what a process that was killed left. */
class IncompleteCheckpointError extends UserError {
  override readonly name = "IncompleteCheckpointError";
}

/** A checkpoint that was complete once, and is not what it was. */
class DamagedCheckpointError extends UserError {
  override readonly name = "DamagedCheckpointError";
}

/** There are checkpoints, and every one of them is damaged. */
class NoWholeCheckpointError extends UserError {
  override readonly name = "NoWholeCheckpointError";
}

/** The two moments of AdamW, as torch names them in an optimizer's state. */
const MOMENTS = { m: "exp_avg.", v: "exp_avg_sq." } as const;

export interface CheckpointState {
  /** Steps done. */
  readonly step: number;
  /** Micro-batches done; the data's order is a function of this and the seed. */
  readonly microBatches: number;
  readonly tokens: number;
  /** The optimizer's state tensor, as the bits of its 16 f32. */
  readonly optimizerState: readonly number[];
  /** Where it ran, and in which type: elsewhere the run goes on, but not bit for bit. */
  readonly adapterName: string;
  readonly computeDtype: "f32" | "f16";
  /** The build of the kernels, and which of their variants were in use; not in checkpoints of before there were any. */
  readonly kernels?: string;
  readonly choices?: Choices;
  /** Fingerprint of what must not change between the parts of a run. */
  readonly run: Readonly<Record<string, unknown>>;
}

export interface TrainedParts {
  readonly gpu: Gpu;
  readonly adapter: Adapter;
  readonly optimizerState: StoredTensor;
}

export interface SaveOptions {
  readonly workDir: Folder;
  readonly state: Omit<CheckpointState, "optimizerState">;
  /** Small files that make the folder an adapter others can load: adapter_config.json, README.md … */
  readonly companions: ReadonlyMap<string, string>;
  /** Complete checkpoints kept, the new one included; −1 keeps all. */
  readonly limit: number;
  /** "iter_30", or as XTuner has it "iter_30.pth", with its whole path in last_checkpoint. */
  readonly naming: "plain" | "xtuner";
  readonly sha256: (bytes: Uint8Array<ArrayBuffer>) => Promise<string>;
}

/**
 * Saves, then removes the oldest checkpoints above the limit. Returns the new folder's name. Refuses to
 * save numbers that are not finite; what was saved before stays in every case.
 */
export async function saveCheckpoint(
  { gpu, adapter, optimizerState }: TrainedParts,
  { workDir, state, companions, limit, naming, sha256 }: SaveOptions,
): Promise<string> {
  const [parameters, m, v] = [
    await adapter.read("parameters"),
    await adapter.read("m"),
    await adapter.read("v"),
  ];
  refuseNonFinite(parameters, state.step);
  const targets = [...adapter.slots.values()].flatMap((slot) =>
    slot.targets.filter((target) => target !== undefined),
  );
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  files.set(ADAPTER_WEIGHTS, encodeMatrices(parameters, targets));
  const moments = new Map([...prefixed(m, MOMENTS.m), ...prefixed(v, MOMENTS.v)]);
  files.set(OPTIMIZER, encodeMatrices(moments, momentTargets(targets)));
  for (const [name, text] of companions) files.set(name, new TextEncoder().encode(text));

  const name = `iter_${state.step}${naming === "xtuner" ? ".pth" : ""}`;
  const partial = `${name}.partial`;
  const bits = new Uint32Array((await readF32(gpu, optimizerState)).buffer, 0, 16);
  const hashes: Record<string, string> = {};
  try {
    await workDir.remove(partial);
    const folder = workDir.folder(partial);
    for (const [file, bytes] of files) {
      await folder.write(file, bytes);
      hashes[file] = await sha256(bytes);
    }
    await folder.write(STATE, stateText({ ...state, optimizerState: [...bits], sha256: hashes }));
    await workDir.remove(name);
    await workDir.rename(partial, name);
  } catch (error) {
    await workDir.remove(partial).catch(() => {});
    throw error;
  }
  await workDir.write(LAST, naming === "xtuner" ? `${workDir.path}/${name}` : `${name}\n`);
  await removeOldest(workDir, limit, state.step);
  return name;
}

/** About the bytes of all files of a checkpoint, without making one. */
export function checkpointFileBytes(
  state: SaveOptions["state"],
  targets: readonly LoraTarget[],
  linears: readonly LinearShape[],
  companions: SaveOptions["companions"],
): number {
  const ofMoments = Object.values(MOMENTS).flatMap((prefix) =>
    linears.map((linear) => ({
      ...linear,
      segments: linear.segments.map(({ path, rows }) => ({ path: prefix + path, rows })),
    })),
  );
  const texts = [...companions].map(([, text]) => new TextEncoder().encode(text).length);
  const weights = [ADAPTER_WEIGHTS, OPTIMIZER, ...companions.keys()];
  const sha256 = Object.fromEntries(weights.map((name) => [name, "0".repeat(64)]));
  // Its numbers are bits of f32, of which the moments of a run have up to ten digits.
  const text = stateText({ ...state, optimizerState: Array(16).fill(1e9), sha256 });
  return (
    adapterFileBytes(targets, linears).bytes +
    adapterFileBytes(momentTargets(targets), ofMoments).bytes +
    texts.reduce((sum, bytes) => sum + bytes, 0) +
    text.length
  );
}

/** The folders of checkpoints, oldest first. */
export async function listCheckpoints(workDir: Folder): Promise<string[]> {
  const names = (await workDir.list()).filter((name) => NAME.test(name));
  return names.toSorted((a, b) => stepOf(a) - stepOf(b));
}

/**
 * Finds the checkpoint to resume from: the one named, or the one saved last, or if its files are not whole
 * the newest whose are. Throws a NoCheckpointError only where there never was one. A file that cannot be
 * read just now (memory, the disk) says nothing of its checkpoint: that failure is passed on.
 */
export async function chooseCheckpoint(
  workDir: Folder,
  wanted: string,
  sha256: SaveOptions["sha256"],
): Promise<{ name: string; state: CheckpointState; warnings: string[] }> {
  if (wanted !== "last") {
    const name = await findName(workDir, lastName(wanted));
    if (!(await workDir.list()).includes(name)) {
      throw new IncompleteCheckpointError(
        `There is no checkpoint ${wanted}.`,
        `Resume from one of: ${(await listCheckpoints(workDir)).join(", ") || "none is there"}.`,
      );
    }
    return { name, state: await verify(workDir, name, sha256), warnings: [] };
  }
  const warnings: string[] = [];
  let isDamaged = false;
  for (const name of await newestFirst(workDir)) {
    try {
      return { name, state: await verify(workDir, name, sha256), warnings };
    } catch (error) {
      const isComplete = !(error instanceof IncompleteCheckpointError);
      if (isComplete && !(error instanceof DamagedCheckpointError)) throw error;
      isDamaged ||= isComplete;
      warnings.push(`Passed over ${name}: ${messageOf(error).split("\n")[0]}`);
    }
  }
  const problem = [`${workDir.path} has no checkpoint to resume from.`, ...warnings].join(" ");
  if (isDamaged) {
    throw new NoWholeCheckpointError(
      problem,
      "Restore the files if there is a copy of them, or start a new run in another folder.",
    );
  }
  throw new NoCheckpointError(
    problem,
    "Start the run anew, or name the folder of the one to resume.",
  );
}

/** With and without ".pth" it is the same checkpoint. */
async function findName(workDir: Folder, wanted: string): Promise<string> {
  const other = wanted.endsWith(".pth") ? wanted.slice(0, -".pth".length) : `${wanted}.pth`;
  const isThere = async (name: string) => (await workDir.size(`${name}/${STATE}`)) !== undefined;
  return !(await isThere(wanted)) && (await isThere(other)) ? other : wanted;
}

/** The checkpoint that was saved last, if there is one. */
export async function readLastCheckpoint(workDir: Folder): Promise<string | undefined> {
  if ((await workDir.size(LAST)) === undefined) return undefined;
  return lastName((await workDir.readText(LAST)).trim());
}

function lastName(path: string): string {
  return (
    path
      .replace(/[/\\]+$/, "")
      .split(/[/\\]/)
      .at(-1) ?? path
  );
}

/** The one saved last before all others, and those by their steps. */
async function newestFirst(workDir: Folder): Promise<string[]> {
  const names = await listCheckpoints(workDir);
  // Not the highest step where the run was resumed from an earlier one and has not come so far again.
  const last = await readLastCheckpoint(workDir);
  return names.toSorted((a, b) => Number(b === last) - Number(a === last) || stepOf(b) - stepOf(a));
}

/** Puts a checkpoint's numbers back on the GPU. */
export async function restoreCheckpoint(
  { gpu, adapter, optimizerState }: TrainedParts,
  workDir: Folder,
  name: string,
  state: CheckpointState,
  linears: readonly LinearShape[],
): Promise<void> {
  const folder = workDir.folder(name);
  const targets = [...adapter.slots.values()].flatMap((slot) =>
    slot.targets.filter((target) => target !== undefined),
  );
  const place = (file: string) => `${folder.path}/${file}`;
  const parameters = decodeTensors(await folder.read(ADAPTER_WEIGHTS), place(ADAPTER_WEIGHTS));
  adapter.write(collectMatrices(parameters, targets, linears, place(ADAPTER_WEIGHTS)));
  const moments = decodeTensors(await folder.read(OPTIMIZER), place(OPTIMIZER));
  for (const part of ["m", "v"] as const) {
    const prefix = `base_model.model.${MOMENTS[part]}`;
    const own = new Map(
      [...moments].flatMap(([key, tensor]) =>
        key.startsWith(prefix) ? [[`base_model.model.${key.slice(prefix.length)}`, tensor]] : [],
      ),
    );
    adapter.write(collectMatrices(own, targets, linears, place(OPTIMIZER)), part);
  }
  write(gpu, optimizerState, Uint32Array.from(state.optimizerState));
}

async function verify(
  workDir: Folder,
  name: string,
  sha256: SaveOptions["sha256"],
): Promise<CheckpointState> {
  const folder = workDir.folder(name);
  if ((await folder.size(STATE)) === undefined) {
    throw new IncompleteCheckpointError(
      `${folder.path} has no ${STATE}; it is no complete checkpoint.`,
      `Resume from one of: ${(await listCheckpoints(workDir)).join(", ") || "none is there"}.`,
    );
  }
  const state = parseState(await folder.readText(STATE), `${folder.path}/${STATE}`);
  for (const [file, hash] of Object.entries(state.sha256)) {
    const bytes = (await folder.size(file)) === undefined ? undefined : await folder.read(file);
    if (bytes && (await sha256(bytes)) === hash) continue;
    throw new DamagedCheckpointError(
      `${folder.path}/${file} is ${bytes ? "damaged: its SHA-256 is not the one in state.json" : "missing"}.`,
      "Resume from an earlier checkpoint.",
    );
  }
  return state;
}

function parseState(
  text: string,
  place: string,
): CheckpointState & { readonly sha256: Record<string, string> } {
  try {
    const state: unknown = JSON.parse(text);
    if (isState(state)) return state;
  } catch {
    // Said below, in words of ours.
  }
  throw new DamagedCheckpointError(
    `${place} is not what a checkpoint's ${STATE} holds.`,
    "Resume from an earlier checkpoint.",
  );
}

function isState(value: unknown): value is CheckpointState & { sha256: Record<string, string> } {
  if (typeof value !== "object" || value === null) return false;
  const state = value as Record<string, unknown>;
  return (
    isCount(state["step"]) &&
    isCount(state["microBatches"]) &&
    isCount(state["tokens"]) &&
    Array.isArray(state["optimizerState"]) &&
    state["optimizerState"].length === 16 &&
    state["optimizerState"].every(isCount) &&
    isChoices(state["choices"] ?? {}) &&
    typeof state["run"] === "object" &&
    state["run"] !== null &&
    typeof state["sha256"] === "object" &&
    state["sha256"] !== null
  );
}

function isChoices(value: unknown): boolean {
  return (
    typeof value === "object" &&
    value !== null &&
    Object.values(value).every((name) => typeof name === "string")
  );
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/**
 * Those after `step` go before all others: the run was resumed from an earlier one and left them behind.
 * By age alone the one just saved would be removed, and they kept.
 */
async function removeOldest(workDir: Folder, limit: number, step: number): Promise<void> {
  if (limit < 0) return;
  const all = await listCheckpoints(workDir);
  const leftBehind = all.filter((name) => stepOf(name) > step);
  const names = [...leftBehind, ...all.filter((name) => stepOf(name) <= step)];
  for (const name of names.slice(0, Math.max(0, names.length - limit))) await workDir.remove(name);
}

function refuseNonFinite(parameters: ReadonlyMap<string, LoraMatrices>, step: number): void {
  for (const [path, { a, b }] of parameters) {
    if (a.every(Number.isFinite) && b.every(Number.isFinite)) continue;
    throw new UserError(
      `After step ${step} the adapter of ${path} holds numbers that are not finite, so nothing was saved.`,
      "Start a new run with a lower lr; load_from lets it begin with the adapter of the last checkpoint.",
    );
  }
}

function stateText(state: CheckpointState & { sha256: Readonly<Record<string, string>> }): string {
  return `${JSON.stringify(state, null, 2)}\n`;
}

function momentTargets(targets: readonly LoraTarget[]): LoraTarget[] {
  return Object.values(MOMENTS).flatMap((prefix) =>
    targets.map((target) => ({ ...target, path: prefix + target.path })),
  );
}

function prefixed(
  matrices: ReadonlyMap<string, LoraMatrices>,
  prefix: string,
): [string, LoraMatrices][] {
  return [...matrices].map(([path, pair]) => [prefix + path, pair]);
}

/** "iter_30" and "iter_30.pth" → 30; −1 for any other name. */
export function stepOf(name: string): number {
  return Number(NAME.exec(name)?.[1] ?? -1);
}
