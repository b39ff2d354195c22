// Installs the peers into bench/peers/node_modules, where nothing else of Hone looks.
import { spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";

/** Does so where they are missing or older than the lock file. Ends the process where it fails. */
export function installPeers(folder: string): void {
  const stamp = `${folder}node_modules/.package-lock.json`;
  const lock = `${folder}package-lock.json`;
  if (existsSync(stamp) && statSync(stamp).mtimeMs >= statSync(lock).mtimeMs) return;
  console.error("Installing the peers (about 1.4 GB on disk, once) …");
  // Not `npm ci`, which insists on the packages of other systems too. No scripts: onnxruntime-node's fetches
  // what only CUDA wants.
  const quiet = ["--no-audit", "--no-fund", "--loglevel=error"];
  const options = ["install", "--no-save", "--ignore-scripts", ...quiet];
  const isWindows = process.platform === "win32";
  const { status } = spawnSync("npm", options, { cwd: folder, stdio: "inherit", shell: isWindows });
  if (status === 0) return;
  console.error("Error: npm install failed in bench/peers.\nCorrect what the lines above say.");
  process.exit(1);
}
