// What is free of an NVIDIA GPU's memory: WebGPU does not tell, but the driver brings a program that does.
import { execFileSync } from "node:child_process";
import type { FreeMemory } from "../engine.ts";

const QUERY = ["--query-gpu=name,memory.free", "--format=csv,noheader,nounits"];
/** Milliseconds: where a GPU is hung, the program waits for it. */
const LONGEST = 5000;

/**
 * What is free on the GPU that an adapter says it is. It is any of several by that name: nobody tells which. Windows
 * moves what other programs hold out of the way, so that there is no most. Undefined where there is no such program,
 * or it knows no such GPU.
 */
export function freeNvidiaMemory(
  { vendor, device }: Pick<GPUAdapterInfo, "vendor" | "device">,
  platform: NodeJS.Platform = process.platform,
): FreeMemory | undefined {
  if (vendor !== "nvidia") return undefined;
  const free = runQuery().flatMap(({ name, mebibytes }) =>
    name === device ? [mebibytes * 2 ** 20] : [],
  );
  if (free.length === 0) return undefined;
  const most = platform === "win32" ? Number.POSITIVE_INFINITY : Math.max(...free);
  return { least: Math.min(...free), most };
}

function runQuery(): { name: string; mebibytes: number }[] {
  try {
    const text = execFileSync("nvidia-smi", QUERY, {
      encoding: "utf8",
      timeout: LONGEST,
      stdio: ["ignore", "pipe", "ignore"],
    });
    return text.split("\n").flatMap((line) => {
      const [, name, mebibytes] = /^(.+), (\d+)\s*$/.exec(line) ?? [];
      return name === undefined ? [] : [{ name, mebibytes: Number(mebibytes) }];
    });
  } catch {
    return []; // not there, or it failed
  }
}
