// What is free of an NVIDIA GPU's memory: WebGPU does not tell, but the driver brings a program that does.
import { execFileSync } from "node:child_process";

const QUERY = ["--query-gpu=name,memory.free", "--format=csv,noheader,nounits"];
/** Milliseconds: where a GPU is hung, the program waits for it. */
const LONGEST = 5000;

/**
 * Bytes that are free on the GPU that an adapter describes itself as; of several by that name the least, as nobody
 * says which of them it is. Undefined where there is no such program, or it knows no such GPU.
 */
export function freeNvidiaBytes({
  vendor,
  device,
  description,
}: Pick<GPUAdapterInfo, "vendor" | "device" | "description">): number | undefined {
  if (vendor !== "nvidia") return undefined;
  const told = `${device} ${description}`;
  const free = runQuery().flatMap(({ name, mebibytes }) =>
    told.includes(name) ? [mebibytes * 2 ** 20] : [],
  );
  return free.length > 0 ? Math.min(...free) : undefined;
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
