// A lock between processes, as a file: whoever made it works, everybody else waits.
//
// Node has no locks of the system, and those are ignored by some network disks. The file says who made it; its
// time is renewed while the work goes on, so that one left by a killed process or machine is found out.
import { randomUUID } from "node:crypto";
import { mkdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { told } from "./node.ts";

const RENEW_MS = 5000;
/** Without a sign of life for so long, its maker is gone: with its machine, or where it cannot be asked. */
const STALE_MS = 30_000;
/** A process that has stood still with its machine is asked for by its number, which may be another's by now. */
const ALIVE_STALE_MS = 600_000;
const LOOK_MS = 250;

export interface LockOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called once, when somebody else has it. */
  readonly onWait?: (() => void) | undefined;
}

/** Does something while no other process does the same under that lock. */
export async function withFileLock<T>(
  path: string,
  { signal, onWait }: LockOptions,
  action: () => Promise<T>,
): Promise<T> {
  await told("write", path, () => mkdir(dirname(path), { recursive: true }));
  const mine = JSON.stringify({ pid: process.pid, host: hostname(), key: randomUUID() });
  for (let isFirst = true; !(await make(path, mine)); isFirst = false) {
    if (isFirst) onWait?.();
    if (await isLeft(path)) await removeLeft(path);
    else await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    signal?.throwIfAborted();
  }
  const renewing = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => {}); // at worst somebody downloads the same
  }, RENEW_MS);
  try {
    return await action();
  } finally {
    clearInterval(renewing);
    const now = await readFile(path, "utf8").catch(() => "");
    if (now === mine) await rm(path, { force: true });
  }
}

/** Whether the file is ours now; false where it is there already. */
async function make(path: string, content: string): Promise<boolean> {
  try {
    await writeFile(path, content, { flag: "wx" });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    return told("write", path, () => Promise.reject(error));
  }
}

/** Removes a lock whose maker is gone. One at a time, or the second would remove the lock of the first. */
async function removeLeft(path: string): Promise<void> {
  const breaking = `${path}.breaking`;
  if (!(await make(breaking, ""))) {
    const { mtimeMs } = await stat(breaking).catch(() => ({ mtimeMs: Infinity }));
    if (Date.now() - mtimeMs > STALE_MS) await rm(breaking, { force: true });
    return;
  }
  try {
    if (await isLeft(path)) await rm(path, { force: true });
  } finally {
    await rm(breaking, { force: true });
  }
}

/** Whether nobody lives who made it. */
async function isLeft(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  if (!found) return false; // it has gone meanwhile
  const silentMs = Date.now() - found.mtimeMs;
  const pid = pidOf(await readFile(path, "utf8").catch(() => ""));
  if (pid === undefined) return silentMs > STALE_MS;
  return !isAlive(pid) || silentMs > ALIVE_STALE_MS;
}

/** Of the process that made a lock, where it is one of this machine. */
function pidOf(text: string): number | undefined {
  try {
    const { pid, host } = JSON.parse(text) as { pid?: unknown; host?: unknown };
    return host === hostname() && Number.isSafeInteger(pid) ? Number(pid) : undefined;
  } catch {
    return undefined; // just being written, or cut off
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"; // somebody else's process
  }
}
