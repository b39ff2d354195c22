// bnb-4bit checkpoints, both ways: what Hone writes loads in transformers with bitsandbytes, and what those
// save loads here; the weights are equal to the bit, and the logits within 1e-4.
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { openModelFolder } from "../../src/engine/model-folder.ts";
import { quantizeModel } from "../../src/engine/exports/quantize.ts";
import { writeWeights } from "../../src/export/weights.ts";
import type { BnbStorage } from "../../src/formats/bnb.ts";
import { openFolder } from "../../src/hosts/node.ts";
import { testGpu } from "../gpu.ts";
import { compareLogits, ourLogits } from "./ours.ts";
import { python, workDirectory } from "./python.ts";
import { score, short } from "./scorecard.ts";
import { FAMILIES, modelFolder, TITLES } from "./subjects.ts";
import { randomSequences } from "./theirs.ts";

const gpu = await testGpu();
const work = await workDirectory("bnb");

interface Case {
  readonly subject: string;
  readonly by: "Hone" | "transformers";
  /** As BitsAndBytesConfig has them. */
  readonly options: {
    readonly bnb_4bit_use_double_quant: boolean;
    readonly bnb_4bit_quant_type?: "nf4" | "fp4";
    readonly bnb_4bit_quant_storage?: BnbStorage;
  };
}

const NESTED = { bnb_4bit_use_double_quant: true } as const;
const UNNESTED = { bnb_4bit_use_double_quant: false } as const;
const CASES: readonly Case[] = [
  ...FAMILIES.map((subject): Case => ({ subject, by: "Hone", options: NESTED })),
  { subject: "llama3", by: "Hone", options: UNNESTED },
  {
    subject: "llama3",
    by: "Hone",
    options: { ...NESTED, bnb_4bit_quant_storage: "bfloat16" },
  },
  { subject: "SmolLM2", by: "Hone", options: NESTED },
  { subject: "llama3", by: "transformers", options: NESTED },
  { subject: "llama3", by: "transformers", options: UNNESTED },
  {
    subject: "llama3",
    by: "transformers",
    options: { ...NESTED, bnb_4bit_quant_storage: "bfloat16" },
  },
  {
    subject: "llama3",
    by: "transformers",
    options: { ...NESTED, bnb_4bit_quant_type: "fp4" },
  },
  { subject: "qwen2", by: "transformers", options: NESTED },
  { subject: "gemma3", by: "transformers", options: UNNESTED },
  { subject: "SmolLM2", by: "transformers", options: NESTED },
];

interface Checked {
  readonly linears: number;
  readonly tensors: number;
  readonly problems: Record<string, string[]>;
  readonly differing: string[];
}

const checked = new Map<Case, Checked>();
const at = (index: number, name: string) => join(work, `${index}-${name}`);

beforeAll(async () => {
  const theirs = await Promise.all(
    [...CASES.entries()]
      .filter(([, { by }]) => by === "transformers")
      .map(async ([index, { subject, options }]) => ({
        model: await modelFolder(subject),
        output: at(index, "model"),
        options: { bnb_4bit_quant_type: "nf4", ...options },
      })),
  );
  await pythonJobs("save", theirs);
  const jobs: unknown[] = [];
  for (const [index, { subject, by, options }] of CASES.entries()) {
    const model = at(index, "model");
    if (by === "Hone") {
      await quantizeModel(gpu, {
        model: openFolder(await modelFolder(subject)),
        output: openFolder(model),
        doubleQuant: options.bnb_4bit_use_double_quant,
        ...(options.bnb_4bit_quant_storage && { quantStorage: options.bnb_4bit_quant_storage }),
      });
    }
    // As plain weights, dequantized on the host.
    const { files } = await openModelFolder(openFolder(model));
    const values = openFolder(at(index, "values"));
    await writeWeights({ files, dtype: undefined, maxShardBytes: 5e9 }, values);
    const sequences = at(index, "sequences.json");
    await writeFile(sequences, JSON.stringify(sequencesFor(subject)));
    jobs.push({
      model,
      values: values.path,
      sequences,
      in_4_bits: at(index, "in-4-bits"),
      dequantized: at(index, "dequantized"),
    });
  }
  const results = await pythonJobs<Checked>("check", jobs);
  CASES.forEach((one, index) => checked.set(one, results[index]!));
});

async function pythonJobs<T>(command: string, jobs: readonly unknown[]): Promise<T[]> {
  const path = join(work, `${command}.json`);
  await writeFile(path, JSON.stringify(jobs));
  return JSON.parse(await python("bnb", [command, path])) as T[];
}

function sequencesFor(subject: string): number[][] {
  return subject === "SmolLM2" ? randomSequences(1, 24, 49152, 3) : randomSequences(2, 40, 2304, 3);
}

describe("bnb-4bit checkpoints", () => {
  test.each(CASES.map((one, index) => ({ ...one, index, title: titleOf(one) })))(
    "$title",
    async ({ index, subject, by, options, title }) => {
      const { linears, tensors, problems, differing } = checked.get(CASES[index]!)!;
      const model = at(index, "model");
      const sequences = sequencesFor(subject);
      // Straight from the codes, as bitsandbytes computes in f32 …
      const inBits =
        options.bnb_4bit_quant_type === "fp4"
          ? undefined
          : await compareLogits(
              ourLogits(gpu, model, sequences, { quantization: "nf4" }),
              at(index, "in-4-bits"),
            );
      // … and of weights that are plain again, rounded to the type that the file names.
      const plain = await compareLogits(ourLogits(gpu, model, sequences), at(index, "dequantized"));
      const error = Math.max(plain.error, inBits?.error ?? 0);
      const isClean = Object.keys(problems).length === 0 && differing.length === 0 && linears > 0;
      score({
        check: "bnb-4bit checkpoints",
        subject: title,
        required: `${by === "Hone" ? "loads there" : "loads here"}; values equal; logits within 1e-4`,
        measured: isClean
          ? `${linears} weights in 4 bits and ${tensors - linears} others equal to the bit; logits ${short(error)}`
          : JSON.stringify({ problems, differing: differing.length }),
        holds: isClean && error <= 1e-4,
      });
      expect({ problems, differing }).toEqual({ problems: {}, differing: [] });
      expect(linears).toBeGreaterThan(0);
      expect({ inBits: inBits?.error ?? 0, plain: plain.error }).toEqual({
        inBits: expect.toSatisfy((value: number) => value <= 1e-4),
        plain: expect.toSatisfy((value: number) => value <= 1e-4),
      });
    },
  );
});

test("config.json is the plain one with what transformers saves for the same settings", () => {
  const { quantization_config: ours } = configOf("Hone");
  const { quantization_config: theirs } = configOf("transformers");
  // What products are computed in is a user's choice there; here it is the model's own type.
  expect(ours).toEqual({ ...theirs, bnb_4bit_compute_dtype: "bfloat16" });
});

function configOf(by: Case["by"]): { quantization_config: Record<string, unknown> } {
  const index = CASES.findIndex(
    (one) => one.by === by && one.options === NESTED && one.subject === "llama3",
  );
  return JSON.parse(readFileSync(join(at(index, "model"), "config.json"), "utf8")) as {
    quantization_config: Record<string, unknown>;
  };
}

function titleOf({ subject, by, options }: Case): string {
  const { bnb_4bit_quant_type: type, bnb_4bit_quant_storage: storage } = options;
  const how = [
    type ?? "nf4",
    options.bnb_4bit_use_double_quant ? "double quantization" : "scales in f32",
    ...(storage ? [`stored as ${storage}`] : []),
  ];
  return `${TITLES[subject]}, written by ${by}: ${how.join(", ")}`;
}
