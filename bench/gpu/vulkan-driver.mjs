// Where this machine's Vulkan driver and loader are, as environment variables for the processes that use them.
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const DRIVER_FOLDERS = [
  "/usr/share/vulkan/icd.d",
  "/etc/vulkan/icd.d",
  "/usr/local/share/vulkan/icd.d",
  "/usr/local/nvidia/share/vulkan/icd.d",
];

// A container is often given NVIDIA's libraries without the file that names them. The first needs no X11.
const NVIDIA_LIBRARIES = ["libEGL_nvidia.so.0", "libGLX_nvidia.so.0"];
const LIBRARY_FOLDERS = [
  "/usr/lib/x86_64-linux-gnu",
  "/usr/lib64",
  "/usr/local/nvidia/lib64",
  "/usr/local/nvidia/lib",
];

/** Prefers the machine's own loader and driver files; fills in what is missing from the archive, or by writing it. */
export function findDriver(root, out) {
  const found = {};
  const libraries = process.env.LD_LIBRARY_PATH?.split(":") ?? [];
  const bundled = join(root, "../lib");
  if (
    !LIBRARY_FOLDERS.some((folder) => existsSync(join(folder, "libvulkan.so.1"))) &&
    existsSync(bundled)
  ) {
    libraries.push(bundled);
  }
  for (const folder of LIBRARY_FOLDERS.slice(2)) if (existsSync(folder)) libraries.push(folder);
  if (libraries.length > 0) found.LD_LIBRARY_PATH = libraries.join(":");
  if (process.env.VK_DRIVER_FILES || process.env.VK_ICD_FILENAMES) return found;

  const files = DRIVER_FOLDERS.flatMap((folder) =>
    existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : [],
  ).filter((path) => path.endsWith(".json"));
  const own = files.filter((path) => /nvidia/i.test(path));
  if (own.length > 0) return { ...found, VK_DRIVER_FILES: own.join(":") };
  const library = NVIDIA_LIBRARIES.find((name) =>
    [...LIBRARY_FOLDERS, ...libraries].some((folder) => existsSync(join(folder, name))),
  );
  if (!library) return found; // whatever the loader finds by itself
  mkdirSync(out, { recursive: true });
  const file = join(out, "nvidia_icd.json");
  const ICD = { library_path: library, api_version: "1.3.0" };
  writeFileSync(file, JSON.stringify({ file_format_version: "1.0.0", ICD }));
  return { ...found, VK_DRIVER_FILES: file };
}
