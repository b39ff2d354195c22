// The originals' logits for a list of jobs in one process, since starting PyTorch takes longer than most jobs.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { python } from "./python.ts";

export interface LogitsJob {
  readonly model: string;
  readonly adapter?: string;
  readonly sequences: readonly (readonly number[])[];
  /** Whether a warning while the adapter loads is an error. Default true. */
  readonly strict?: boolean;
  /** Where to write them, f32. */
  readonly output: string;
}

export interface LogitsResult {
  /** The end of a Python traceback; absent where all went well. */
  readonly error?: string;
  /** Matrices of the adapter, each found in the model as it is in the file. */
  readonly adapterTensors?: number;
}

/** Results in the order of the jobs. */
export async function theirLogits(
  folder: string,
  jobs: readonly LogitsJob[],
  environment: "current" | "oldest-peft" = "current",
): Promise<LogitsResult[]> {
  const list = await Promise.all(
    jobs.map(async ({ sequences, ...job }, index) => {
      const path = join(folder, `sequences-${environment}-${index}.json`);
      await writeFile(path, JSON.stringify(sequences));
      return { ...job, sequences: path };
    }),
  );
  const path = join(folder, `jobs-${environment}.json`);
  await writeFile(path, JSON.stringify(list));
  return JSON.parse(await python("logits", [path], environment)) as LogitsResult[];
}

/** Ids of no meaning, without the special ones; equal for an equal seed. */
export function randomSequences(
  count: number,
  length: number,
  vocab: number,
  seed: number,
): number[][] {
  let state = seed;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  return Array.from({ length: count }, () =>
    Array.from({ length }, () => 5 + Math.floor(next() * (vocab - 5))),
  );
}
