// What the comparison is tried on: a random tiny model of every family, the built-in model, and SmolLM2.
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cacheDirectory, python, smolLm2 } from "./python.ts";

const SEEDLING = fileURLToPath(new URL("../../public/models/seedling", import.meta.url));

/** The families, as models.py names their folders. */
export const FAMILIES = [
  "llama2",
  "llama3",
  "smollm2",
  "mistral",
  "qwen2",
  "qwen3",
  "gemma3",
  "phi3",
  "phi4-mini",
  "internlm2",
] as const;

/** As the scorecard calls them. */
export const TITLES: Readonly<Record<string, string>> = {
  llama2: "Llama 2, random",
  llama3: "Llama 3.1, random",
  smollm2: "SmolLM2, random",
  mistral: "Mistral, random",
  qwen2: "Qwen2.5, random",
  qwen3: "Qwen3, random",
  gemma3: "Gemma 3 text, random",
  phi3: "Phi-3-mini, random",
  "phi4-mini": "Phi-4-mini, random",
  internlm2: "InternLM2, random",
  linear: "Llama, linear RoPE scaling, random",
  yarn: "Llama, YaRN, random",
  seedling: "Seedling",
  SmolLM2: "SmolLM2-135M-Instruct",
};

/** The folder of a subject's model. Random models are drawn from fixed seeds once and kept. */
export async function modelFolder(subject: string): Promise<string> {
  if (subject === "seedling") return SEEDLING;
  if (subject === "SmolLM2") return smolLm2();
  return join(await tinyModels(), subject);
}

let made: Promise<string> | undefined;

function tinyModels(): Promise<string> {
  return (made ??= makeTinyModels());
}

async function makeTinyModels(): Promise<string> {
  const hash = createHash("sha256");
  for (const name of ["models.py", "internlm2.py"]) {
    hash.update(readFileSync(new URL(name, import.meta.url)));
  }
  const path = join(cacheDirectory, `models-${hash.digest("hex").slice(0, 12)}`);
  if (existsSync(join(path, ".complete"))) return path;
  const aside = `${path}.${process.pid}`;
  await mkdir(aside);
  await python("models", [aside, SEEDLING]);
  await writeFile(join(aside, ".complete"), "");
  await rm(path, { recursive: true, force: true });
  await rename(aside, path);
  return path;
}
