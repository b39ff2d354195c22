// The originals, run as they are: a script of this folder in one of the suite's Python environments.
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll } from "vitest";
import { cacheDirectory, pythonPath } from "./setup.mjs";

export { cacheDirectory };

const HERE = fileURLToPath(new URL(".", import.meta.url));
const execute = promisify(execFile);

/** As `python SCRIPT` but with this folder last on the path: a script may be named like what it judges. */
const LAUNCHER = `
import os, runpy, sys
del sys.argv[0]
sys.path[:1] = []
sys.path.append(os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
`;

/** Nothing is fetched; what the originals print does not hang on the clock or the terminal. */
const ENVIRONMENT = {
  HF_HUB_OFFLINE: "1",
  TRANSFORMERS_OFFLINE: "1",
  HF_HUB_DISABLE_PROGRESS_BARS: "1",
  TOKENIZERS_PARALLELISM: "false",
  PYTHONDONTWRITEBYTECODE: "1",
  PYTHONHASHSEED: "0",
  PYTHONUTF8: "1",
  OMP_WAIT_POLICY: "PASSIVE", // threads that wait leave the core to others
};

/**
 * Runs test/interop/SCRIPT.py. Resolves to its stdout, JSON by convention; rejects with what it wrote
 * to stderr.
 */
export async function python(
  script: string,
  args: readonly string[] = [],
  environment: "current" | "oldest-peft" = "current",
): Promise<string> {
  try {
    const { stdout } = await execute(
      pythonPath(environment),
      ["-c", LAUNCHER, join(HERE, `${script}.py`), ...args],
      {
        maxBuffer: 1 << 30,
        env: { ...process.env, ...ENVIRONMENT, HF_HOME: join(cacheDirectory, "hf-home") },
      },
    );
    return stdout;
  } catch (error) {
    const { stderr } = error as { stderr?: string };
    throw new Error(`${script}.py ${args.join(" ")}\n${stderr?.slice(-6000) ?? String(error)}`, {
      cause: error,
    });
  }
}

/** A fresh folder outside the tree, gone when the test file ends. */
export async function workDirectory(name: string): Promise<string> {
  const parent = await mkdtemp(join(tmpdir(), "hone-interop-"));
  afterAll(() => rm(parent, { recursive: true, force: true }));
  const path = join(parent, name);
  await mkdir(path);
  return path;
}

/** SmolLM2-135M-Instruct as a Hugging Face folder, in bfloat16. */
export function smolLm2(): Promise<string> {
  return Promise.resolve(join(cacheDirectory, "smollm2-135m"));
}

/** The file it was made from: Q4_1, with embeddings in another block type. */
export function smolLm2Gguf(): Promise<string> {
  return Promise.resolve(join(cacheDirectory, "smollm2-gguf", "smollm2.gguf"));
}
