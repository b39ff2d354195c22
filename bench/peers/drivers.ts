// Makes the peers' processes take the adapter that Hone took.
import { dirname } from "node:path";
import type { FoundAdapter } from "../../src/hosts/node-gpu.ts";

/** Variables for Vulkan's loader. Call it after Hone has found its adapter. */
export function driverVariables(kind: FoundAdapter["kind"]): Record<string, string> {
  const runtime = { XDG_RUNTIME_DIR: process.env["XDG_RUNTIME_DIR"] ?? "" };
  const manifest = process.env["VK_ICD_FILENAMES"];
  // QVAC passes over adapters that compute on the CPU unless it is given one by number.
  const software = { GGML_VK_VISIBLE_DEVICES: "0" };
  if (kind === "swiftshader" && manifest) {
    // Its own loader lies beside it: there may be no other.
    const folders = [dirname(manifest), process.env["LD_LIBRARY_PATH"] ?? ""].filter(Boolean);
    return {
      ...runtime,
      ...software,
      VK_DRIVER_FILES: manifest,
      LD_LIBRARY_PATH: folders.join(":"),
    };
  }
  if (kind === "llvmpipe") return { ...runtime, ...software, VK_LOADER_DRIVERS_SELECT: "*lvp*" };
  return { ...runtime, VK_LOADER_DRIVERS_DISABLE: "*lvp*" };
}
