// Where this machine's Vulkan driver and loader may be, as environment variables for the processes that use them.
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const DRIVER_FOLDERS = [
  "/usr/share/vulkan/icd.d",
  "/etc/vulkan/icd.d",
  "/usr/local/share/vulkan/icd.d",
  "/usr/local/nvidia/share/vulkan/icd.d",
];

// A container is often given NVIDIA's libraries without the file that names them. The first needs no X11, which the
// machine's own file may ask for.
const NVIDIA_LIBRARIES = ["libEGL_nvidia.so.0", "libGLX_nvidia.so.0"];
const LIBRARY_FOLDERS = [
  "/usr/lib/x86_64-linux-gnu",
  "/usr/lib64",
  "/usr/local/nvidia/lib64",
  "/usr/local/nvidia/lib",
];

/**
 * Environments to try one after the other, the machine's own loader and driver files before what the archive and this
 * file fill in. The last leaves it to the loader.
 */
export function driversToTry(root, out) {
  const libraries = process.env.LD_LIBRARY_PATH?.split(":") ?? [];
  const bundled = join(root, "../lib");
  if (
    !LIBRARY_FOLDERS.some((folder) => existsSync(join(folder, "libvulkan.so.1"))) &&
    existsSync(bundled)
  ) {
    libraries.push(bundled);
  }
  for (const folder of LIBRARY_FOLDERS.slice(2)) if (existsSync(folder)) libraries.push(folder);
  const loader = libraries.length > 0 ? { LD_LIBRARY_PATH: libraries.join(":") } : {};
  if (process.env.VK_DRIVER_FILES || process.env.VK_ICD_FILENAMES) return [loader];

  const own = DRIVER_FOLDERS.flatMap((folder) =>
    existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : [],
  ).filter((path) => /nvidia.*\.json$/i.test(path));
  const there = NVIDIA_LIBRARIES.filter((name) =>
    [...LIBRARY_FOLDERS, ...libraries].some((folder) => existsSync(join(folder, name))),
  );
  mkdirSync(out, { recursive: true });
  const written = there.map((name) => {
    const file = join(out, `${name.replace(/\.so.*/, "")}-icd.json`);
    const ICD = { library_path: name, api_version: "1.3.0" };
    writeFileSync(file, JSON.stringify({ file_format_version: "1.0.0", ICD }));
    return file;
  });
  const files = [...(own.length > 0 ? [own.join(":")] : []), ...written];
  return [...files.map((file) => ({ ...loader, VK_DRIVER_FILES: file })), loader];
}
