// What Hone makes of real weights in 4 bits is what bitsandbytes makes of them, to the bit.
//
// bitsandbytes is not of one mind about the 8-bit codes of scales. What is held to here is its "default"
// backend, torch code that computes what its definition says. Its compiled library for CPUs looks these codes
// up in a table, and its CUDA kernels divide approximately (they are built with --use_fast_math) and sum the
// mean in an order that depends on the GPU: nobody's bytes are equal to those of all three.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { quantizeToBnb } from "../../src/export/bnb.ts";
import { writeWeights } from "../../src/export/weights.ts";
import { openFolder } from "../../src/hosts/node.ts";
import { openModelFiles } from "../../src/model/files/checkpoint-files.ts";
import { testGpu } from "../gpu.ts";
import { python, smolLm2, workDirectory } from "./python.ts";
import { score } from "./scorecard.ts";

const gpu = await testGpu();
const CHECK = "NF4 codes, absmax, nested absmax";
const DTYPES = ["bf16", "f16", "f32"] as const;

/** By kind of number: how many there are, and how many of them differ from bitsandbytes'. */
type Counts = Record<string, { total: number; differ: number }>;

const work = await workDirectory("nf4");
const backends = new Map<"default" | "compiled", Map<string, Counts>>();

beforeAll(async () => {
  const sources = join(work, "sources");
  await mkdir(sources);
  await python("nf4", ["sources", await smolLm2(), sources]);
  const jobs: Job[] = [];
  for (const dtype of DTYPES) {
    for (const doubleQuant of [true, false]) {
      const name = `${dtype}${doubleQuant ? "" : " unnested"}`;
      // All of the model once; three of its layers in the other ways.
      const source = name === "bf16" ? await smolLm2() : join(sources, dtype);
      const written = join(work, name);
      await quantize(source, written, doubleQuant);
      jobs.push({ name, source, written });
    }
  }
  await compare("default", jobs);
  // Three layers of each, so as not to take long.
  const nested = DTYPES.map((name) => ({
    name,
    source: join(sources, name),
    written: join(work, name),
  }));
  await compare("compiled", nested);
});

interface Job {
  readonly name: string;
  readonly source: string;
  readonly written: string;
}

async function compare(backend: "default" | "compiled", jobs: readonly Job[]): Promise<void> {
  const path = join(work, "jobs.json");
  await writeFile(path, JSON.stringify(jobs.map(({ source, written }) => ({ source, written }))));
  const counts = JSON.parse(await python("nf4", ["compare", backend, path])) as Counts[];
  backends.set(backend, new Map(jobs.map(({ name }, i) => [name, counts[i]!])));
}

async function quantize(source: string, output: string, doubleQuant: boolean): Promise<void> {
  const files = await openModelFiles(openFolder(source));
  const weights = [...files.tensors.values()]
    .filter(({ name }) => name.endsWith("_proj.weight"))
    .map(({ name, shape: [rows = 0, columns = 0] }) => ({
      name,
      shape: [rows, columns] as const,
    }));
  const made = await quantizeToBnb({ gpu, files, weights, doubleQuant, storage: "uint8" });
  const parts = { files: made.files, dtype: undefined, maxShardBytes: 5e9 };
  await writeWeights(parts, openFolder(output));
  made.free();
}

describe("everything that is stored is equal, byte for byte, to bitsandbytes' default backend", () => {
  test.each(DTYPES)("%s, scales in 8 bits", (dtype) => {
    const counts = backends.get("default")!.get(dtype)!;
    // The state is the text of the offset, among others.
    const kinds = ["codes", "absmax_8bit", "nested_absmax", "nested_quant_map", "offset", "state"];
    const weights = counts["dequantized"]!.total;
    expect(weights).toBeGreaterThan(1e7);
    const differ = Object.fromEntries(
      [...kinds, "dequantized"].map((kind) => [kind, counts[kind]!.differ]),
    );
    const holds = Object.values(differ).every((count) => count === 0);
    score({
      check: CHECK,
      subject: `SmolLM2-135M-Instruct in ${dtype}, ${millions(weights)} weights, double quantization`,
      required: "byte-equal to quantize_4bit (default backend); dequantized values equal",
      measured: holds
        ? "codes, nested codes, nested absmax, offset and values: all equal"
        : JSON.stringify(differ),
      holds,
    });
    expect(differ).toEqual(Object.fromEntries(Object.keys(differ).map((kind) => [kind, 0])));
  });

  test.each(DTYPES)("%s, scales in f32", (dtype) => {
    const counts = backends.get("default")!.get(`${dtype} unnested`)!;
    const weights = counts["dequantized"]!.total;
    expect(weights).toBeGreaterThan(1e7);
    const differ = Object.values(counts).reduce((sum, { differ: count }) => sum + count, 0);
    score({
      check: CHECK,
      subject: `SmolLM2-135M-Instruct in ${dtype}, ${millions(weights)} weights, scales in f32`,
      required: "byte-equal to quantize_4bit; dequantized values equal",
      measured: differ === 0 ? "codes, absmax and values: all equal" : `${differ} differ`,
      holds: differ === 0,
    });
    expect(counts["absmax"]!.total).toBe(weights / 64);
    expect(differ).toBe(0);
  });
});

describe("with its compiled CPU library", () => {
  test.each(DTYPES)(
    "all is equal but the 8-bit codes beside the steps of its table: %s",
    (dtype) => {
      const counts = backends.get("compiled")!.get(dtype)!;
      const { total, differ } = counts["absmax_8bit"]!;
      const others = ["codes", "nested_absmax", "nested_quant_map", "offset"].map(
        (kind) => counts[kind]!.differ,
      );
      const unexplained = counts["absmax_8bit_by_table"]!.differ;
      // About one in 400; a fault of ours would move far more, or some that the table does not.
      const holds =
        others.every((count) => count === 0) && unexplained === 0 && differ < total / 200;
      score({
        check: CHECK,
        subject: `three layers of it in ${dtype}, bitsandbytes with its compiled CPU library`,
        required: "equal, but 8-bit codes where its table of 65,536 is too coarse",
        measured: `${differ} of ${total} 8-bit codes differ, all as that table has it; the rest equal`,
        holds,
      });
      expect(others).toEqual([0, 0, 0, 0]);
      expect(unexplained).toBe(0);
      expect(differ).toBeLessThan(total / 200);
    },
  );
});

test("CUDA's search, as its source has it, takes another code on exact ties alone", () => {
  const { total, differ } = backends.get("default")!.get("bf16")!["absmax_8bit_by_cuda"]!;
  const holds = differ <= total / 1e5;
  score({
    check: CHECK,
    subject: "all of it in bf16, the search of bitsandbytes' CUDA kernel written again in NumPy",
    required: "equal but on exact ties (its division and its mean are not exact: not run here)",
    measured: `${differ} of ${total} 8-bit codes differ`,
    holds,
  });
  expect(holds).toBe(true);
});

function millions(count: number): string {
  return `${(count / 1e6).toFixed(1)} M`;
}
