// The base's logits are transformers': every family, the built-in model, SmolLM2; all weights as in the file.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { openModelFolder } from "../../src/engine/model-folder.ts";
import { openFolder } from "../../src/hosts/node.ts";
import { testGpu } from "../gpu.ts";
import { compareLogits, ourLogits } from "./ours.ts";
import { workDirectory } from "./python.ts";
import { score, short } from "./scorecard.ts";
import { FAMILIES, modelFolder, TITLES } from "./subjects.ts";
import { type LogitsResult, randomSequences, theirLogits } from "./theirs.ts";

const gpu = await testGpu();
const POSITIONS = 2000;
const LENGTH = 50;
const VOCAB = 2304; // of the random models

// "family.v5" is the same model with config.json as transformers 5 writes it.
const RESPELLED = ["llama3.v5", "mistral.v5", "qwen2.v5", "qwen3.v5", "gemma3.v5", "phi4-mini.v5"];
// "family@tokens": past the context that its angles are made for, where the scaling changes with the length.
const STRETCHED = ["phi4-mini@400", "internlm2@1000"];
const SUBJECTS = [...FAMILIES, ...RESPELLED, ...STRETCHED, "linear", "yarn", "seedling", "SmolLM2"];
const folderOf = (subject: string) => modelFolder(subject.split("@")[0]!);
const sequences = new Map<string, number[][]>();
const results = new Map<string, LogitsResult>();
const outputs = await workDirectory("logits");

beforeAll(async () => {
  for (const subject of SUBJECTS) sequences.set(subject, await sequencesFor(subject));
  const jobs = await Promise.all(
    SUBJECTS.map(async (subject) => ({
      model: await folderOf(subject),
      sequences: sequences.get(subject)!,
      output: join(outputs, subject),
    })),
  );
  const all = await theirLogits(outputs, jobs);
  SUBJECTS.forEach((subject, i) => results.set(subject, all[i]!));
});

/** Text for the models that know any; else random ids. */
async function sequencesFor(subject: string): Promise<number[][]> {
  const length = Number(subject.split("@")[1] ?? LENGTH);
  const count = POSITIONS / length;
  if (subject !== "seedling" && subject !== "SmolLM2") {
    return randomSequences(count, length, VOCAB, 1);
  }
  const { tokenizer } = await openModelFolder(openFolder(await modelFolder(subject)));
  const text = readFileSync(new URL("../../scripts/seedling/en.txt", import.meta.url), "utf8");
  const ids = tokenizer.encode(text);
  return Array.from({ length: count }, (_, i) => ids.slice(i * length, (i + 1) * length));
}

describe("logits of the base", () => {
  test.each(SUBJECTS)("%s", async (subject) => {
    expect(results.get(subject)!.error).toBeUndefined();
    const ours = ourLogits(gpu, await folderOf(subject), sequences.get(subject)!);
    const { error, sameTop, positions } = await compareLogits(ours, join(outputs, subject));
    expect(positions).toBe(POSITIONS);
    const [family = "", spelling, tokens] = subject.split(/[.@](v5)?/);
    const detail = tokens ? `, rows of ${tokens} tokens` : spelling && ", config of transformers 5";
    score({
      check: "logits of the base",
      subject: `${TITLES[family]}${detail ?? ""}`,
      required: `error ≤ 1e-4; first token equal on ≥ 99.9 % of ${positions}`,
      measured: `${short(error)}; ${(sameTop * 100).toFixed(2)} %`,
      holds: error <= 1e-4 && sameTop >= 0.999,
    });
    expect(error).toBeLessThanOrEqual(1e-4);
    expect(sameTop).toBeGreaterThanOrEqual(0.999);
  });
});
