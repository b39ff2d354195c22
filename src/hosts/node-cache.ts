// Where Node keeps what it can make again.
import { homedir } from "node:os";
import { join } from "node:path";

/** The user's folder for caches, as the XDG base directories have it. */
export function cacheHome(): string {
  return process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache");
}
