// SwiftShader, the software Vulkan driver, from inside the npm package @sparticuz/chromium.
//
// It needs neither root nor a system loader: its own libvulkan is loaded into the process before Dawn
// looks for one, and finds the driver through VK_ICD_FILENAMES.
import { createReadStream, existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";
import koffi from "koffi";
import { extract } from "tar-fs";
import { cacheHome } from "./node-cache.ts";

const ARCHIVE = "bin/swiftshader.tar.br";

/**
 * Unpacks the driver once per version into the user's cache and makes it the process's only Vulkan
 * driver. Returns a sentence on where it came from, or undefined where the package is not installed.
 */
export async function loadSwiftShader(): Promise<string | undefined> {
  const packageFolder = findPackage();
  if (!packageFolder || process.platform !== "linux" || process.arch !== "x64") return undefined;
  const manifest: unknown = JSON.parse(await readFile(join(packageFolder, "package.json"), "utf8"));
  const version = String((manifest as { version?: unknown }).version);
  const folder = await unpack(join(packageFolder, ARCHIVE), `swiftshader-${version}`);
  process.env["VK_ICD_FILENAMES"] = join(folder, "vk_swiftshader_icd.json");
  process.env["VK_DRIVER_FILES"] = process.env["VK_ICD_FILENAMES"];
  koffi.load(join(folder, "libvulkan.so.1"), { global: true });
  return `SwiftShader from @sparticuz/chromium ${version}`;
}

function findPackage(): string | undefined {
  try {
    return dirname(dirname(createRequire(import.meta.url).resolve("@sparticuz/chromium")));
  } catch {
    return undefined;
  }
}

/** Unpacks beside the final place and renames, so that two processes may do it at once. */
async function unpack(archive: string, name: string): Promise<string> {
  for (const parent of [
    join(cacheHome(), "hone"),
    join(tmpdir(), `hone-${process.getuid?.() ?? 0}`),
  ]) {
    const folder = join(parent, name);
    if (existsSync(join(folder, "complete"))) return folder;
    try {
      await mkdir(parent, { recursive: true });
      const partial = await mkdtemp(`${folder}.`);
      await pipeline(createReadStream(archive), createBrotliDecompress(), extract(partial));
      await writeFile(join(partial, "complete"), "");
      await rename(partial, folder).catch(() => rm(partial, { recursive: true }));
      if (existsSync(join(folder, "complete"))) return folder;
    } catch {
      // A home that cannot be written to (a container, a full disk): the temporary folder is next.
    }
  }
  throw new Error(`internal: found no folder to unpack ${archive} into`);
}
