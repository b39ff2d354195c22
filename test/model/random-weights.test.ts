// The benchmark's random weights stand in for a model's files: they must be what a loader would have made.
import { expect, test } from "vitest";
import { createStepper, prepareModel, randomBatch } from "../../bench/prepare.ts";
import { makeRandomWeights } from "../../bench/random-weights.ts";
import { architectureOf, SHAPE_NAMES } from "../../bench/shapes.ts";
import { decodeBf16 } from "../../src/formats/float.ts";
import { read, readF32 } from "../../src/gpu/tensor.ts";
import { freeWeights } from "../../src/model/weights.ts";
import { testGpu } from "../gpu.ts";

const gpu = await testGpu();

test("random weights are of every kind a loaded model has, within their ranges, and all freed", async () => {
  const before = gpu.allocatedBytes;
  const weights = await makeRandomWeights(gpu, architectureOf("seedling", 2), 40);
  const [block] = weights.blocks;
  const down = block?.linears.down.weight;
  if (!block || !down || !("codes" in down)) throw new Error("the map is not NF4");
  const codes = new Uint8Array(await read(gpu, weights.tensors.find(isNamed(down.codes.label))!));
  const counts = Array.from({ length: 16 }, () => 0);
  for (const byte of codes) {
    counts[byte & 15]! += 1;
    counts[byte >> 4]! += 1;
  }
  // Each of the 16 codes as often as the others.
  const mean = (codes.length * 2) / 16;
  for (const count of counts) expect(Math.abs(count / mean - 1)).toBeLessThan(0.1);

  const scales = await readF32(gpu, weights.tensors.find(isNamed(down.absmax.label))!);
  expect(Math.min(...scales)).toBeGreaterThanOrEqual(0.02);
  expect(Math.max(...scales)).toBeLessThan(0.0601);
  const [shard] = weights.embedding;
  const table = decodeBf16(new Uint16Array(await read(gpu, shard!.tensor)));
  const largest = table.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  expect(largest).toBeLessThanOrEqual(0.035);
  expect(largest).toBeGreaterThan(0.034);
  const negatives = table.filter((value) => value < 0).length;
  expect(Math.abs(negatives / table.length - 0.5)).toBeLessThan(0.01);
  expect(weights.head).toBe(weights.embedding);
  freeWeights(gpu, weights);
  expect(gpu.allocatedBytes).toBe(before);
});

test("a step on random weights has a loss near that of guessing, and gradients", async () => {
  const tokens = 48;
  const subject = { name: "seedling", architecture: architectureOf("seedling", 2) };
  const model = await prepareModel(gpu, subject, tokens);
  const stepper = await createStepper(model, tokens);
  const batch = randomBatch(subject.architecture.vocab, tokens);
  const { loss, gradNorm, finite } = await stepper.run([batch], 0, 1e-3);
  expect(finite).toBe(true);
  expect(Math.abs(loss - Math.log(2304))).toBeLessThan(0.5);
  expect(gradNorm).toBeGreaterThan(0);
});

test("every shape is a model that the engine knows, and can be cut", () => {
  for (const shape of SHAPE_NAMES) {
    expect(architectureOf(shape, 2).layers).toBe(2);
    expect(architectureOf(shape).layers).toBeGreaterThan(2);
  }
  expect(() => architectureOf("llama-9")).toThrow("There is no shape llama-9.");
});

function isNamed(label: string) {
  return (tensor: { label: string }) => tensor.label === label;
}
