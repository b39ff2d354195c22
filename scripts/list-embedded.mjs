// Lists the files of the model that comes with the page, with their sizes and checksums, for the page to
// verify what it fetches. Run it after the model was made anew; test/services/embedded.test.ts finds a
// list that is out of date.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("../public/models/seedling", import.meta.url));
const names = readdirSync(folder).filter((name) => !["files.json", "README.md"].includes(name));
const files = names.toSorted().map((name) => {
  const bytes = readFileSync(join(folder, name));
  return { name, bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
});
writeFileSync(join(folder, "files.json"), `${JSON.stringify(files, null, 2)}\n`);
