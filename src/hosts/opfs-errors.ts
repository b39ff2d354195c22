// What the browser's file system refuses, in words for the person at the screen.
import { UserError } from "../base/error.ts";
import { formatBytes } from "../base/format.ts";

export type Verb = "read" | "write" | "rename" | "remove";

/** Runs an action on a file; a refusal of the browser comes back as a UserError that names the path. */
export async function told<T>(
  verb: Verb,
  path: string,
  action: () => Promise<T>,
  written: () => number = () => 0,
): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw await tell(error, verb, path, written());
  }
}

/** A lock of another tab, or of this one before its reload, is often gone a moment later. */
const LOCK_WAITS_MS = [20, 50, 100, 200, 400, 800];

export async function whenFree<T>(action: () => Promise<T>): Promise<T> {
  for (const waitMs of LOCK_WAITS_MS) {
    try {
      return await action();
    } catch (error) {
      if (faultOf(error) !== "NoModificationAllowedError") throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, waitMs));
  }
  return action();
}

/** The name of what a browser threw, such as "NotFoundError". */
export function faultOf(error: unknown): string {
  return error instanceof Error || error instanceof DOMException ? error.name : String(error);
}

async function tell(
  error: unknown,
  verb: Verb,
  path: string,
  writtenBytes: number,
): Promise<unknown> {
  if (error instanceof UserError) return error;
  const user = (problem: string, remedy: string) =>
    new UserError(problem, remedy, { cause: error });
  const took = writtenBytes > 0 ? `: it took ${formatBytes(writtenBytes)} and no more` : "";
  switch (faultOf(error)) {
    case "NotFoundError":
      return user(
        `There is no file or folder ${path} in the browser's storage.`,
        "Reload the page: it may have been deleted in another tab.",
      );
    case "TypeMismatchError":
      return user(
        `A part of ${path} is a file where a folder is needed, or the other way round.`,
        "Delete it and try again.",
      );
    case "QuotaExceededError":
      return user(
        `The browser's storage has no room for ${path}${took}. ${await describeQuota()}`,
        "Delete models or runs that are no longer needed, or free some disk space. What was saved before is untouched.",
      );
    case "NoModificationAllowedError":
      return user(
        `Another tab has ${path} open, so this one cannot ${verb} it.`,
        "Close Hone's other tabs, then try again.",
      );
    case "NotAllowedError":
      return user(
        `The browser does not allow this page to ${verb} ${path}.`,
        "Pick the folder again and allow changes.",
      );
    case "SecurityError":
      return user(
        `The browser does not let this page ${verb} ${path}.`,
        "Allow this site to store data, or choose another folder.",
      );
    case "NotReadableError":
      return user(
        `${path} could not be read: something else is writing to it, or the disk has a fault.`,
        "Wait a moment and try again.",
      );
    default:
      // A name that the file system does not take is a TypeError, as is a mistake of ours: told apart by stack.
      return error instanceof DOMException
        ? user(`Could not ${verb} ${path}: ${error.message}.`, "Reload the page and try again.")
        : error;
  }
}

async function describeQuota(): Promise<string> {
  try {
    const { usage, quota } = await navigator.storage.estimate();
    if (usage === undefined || quota === undefined) return "";
    return `The browser allows this site ${formatBytes(quota)}, of which ${formatBytes(usage)} are used.`;
  } catch {
    return "";
  }
}
