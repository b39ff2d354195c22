// What comes with the package: its version, the embedded model, the ready-made configs.
//
// A clone has them in public/; an installed package has them in dist/, where the page's build put them.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { invariant } from "../base/error.ts";

export function packageVersion(): string {
  return readManifest(packageRoot())?.version ?? "unknown";
}

/** The path of something in public/, wherever that is now; undefined if it was not shipped. */
export function findPublic(...parts: readonly string[]): string | undefined {
  const root = packageRoot();
  return ["public", "dist"]
    .map((folder) => join(root, folder, ...parts))
    .find((path) => existsSync(path));
}

function packageRoot(): string {
  let folder = import.meta.dirname;
  while (readManifest(folder)?.name !== "hone") {
    invariant(dirname(folder) !== folder, () => `no package.json above ${import.meta.dirname}`);
    folder = dirname(folder);
  }
  return folder;
}

function readManifest(folder: string): { name?: string; version?: string } | undefined {
  const path = join(folder, "package.json");
  if (!existsSync(path)) return undefined;
  return JSON.parse(readFileSync(path, "utf8")) as { name?: string; version?: string };
}
