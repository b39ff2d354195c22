// Builds the page before the browser's tests, where it is older than its sources.
import { execFileSync } from "node:child_process";
import { join } from "node:path";

export function setup(): void {
  const script = join(import.meta.dirname, "..", "..", "scripts", "setup.mjs");
  execFileSync(process.execPath, [script], { stdio: "inherit" });
}
