// A name for the kernels as they are built: what was measured of others, or computed by others, is not theirs.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");

/** A hash of the texts of all shaders and of what records them: 16 hex digits. */
export function kernelsId(): string {
  const hash = createHash("sha256");
  for (const file of ["shaders", "shaders/lib", "src/kernels"].flatMap(filesIn)) {
    hash.update(`${file}\n`).update(readFileSync(join(root, file)));
  }
  return hash.digest("hex").slice(0, 16);
}

function filesIn(folder: string): string[] {
  const entries = readdirSync(join(root, folder), { withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map(({ name }) => `${folder}/${name}`)
    .toSorted();
}
