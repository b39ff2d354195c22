// Only rows with a target go through the head, in chunks: whichever rows those are, and whatever ran before.
import { expect, test } from "vitest";
import { readF32, write } from "../../src/gpu/tensor.ts";
import { firstOptimizerState } from "../../src/kernels/grad-norm.ts";
import { writeBatch } from "../../src/model/batch.ts";
import { buildTrainProgram } from "../../src/model/transformer.ts";
import type { MicroBatch } from "../../src/train/step.ts";
import { testGpu } from "../gpu.ts";
import { type BatchJson, loadTiny, microBatchOf, readFixture, uploadBatch } from "./tiny.ts";

const NO_TARGET = 0xffff_ffff;
const gpu = await testGpu();
const whole = microBatchOf(readFixture("inputs.json") as BatchJson);

/** Only those targets stay that `isKept` says. */
function withTargets(isKept: (token: number) => boolean): MicroBatch {
  const targets = whole.targets.map((target, token) => (isKept(token) ? target : NO_TARGET));
  const labelTokens = targets.filter((target) => target !== NO_TARGET).length;
  return { ...whole, targets, labelTokens };
}

/** A model whose head makes eight rows of logits at a time. */
async function smallChunks() {
  const model = await loadTiny(gpu, "tiny-llama", {
    quantization: "nf4",
    act: "f32",
    adapter: "tiny-llama-adapter",
  });
  const state = gpu.allocate("state", "f32", [16]);
  const batch = uploadBatch(gpu, whole);
  const cut = { ...model, gpu: cutOnce(8 * 4 * model.architecture.vocab) };
  const options = { batch, state, checkpointing: true, dropout: 0.1 };
  const program = await buildTrainProgram(cut, options);
  return {
    program,
    /** Loss sum and gradients of one run over the chunks of the first `rows` rows; all, if not given. */
    async run(microBatch: MicroBatch, rows?: number) {
      write(gpu, state, firstOptimizerState(false));
      for (const { training, count } of model.adapter.banks) {
        write(gpu, training!.gradients, new Float32Array(count));
      }
      const labeled = writeBatch(gpu, batch, microBatch);
      expect(labeled).toBe(microBatch.labelTokens);
      model.step.set({ seed: 1, lossWeight: 1 / whole.labelTokens });
      program.run({ rows: rows ?? labeled });
      const gradients = [...(await model.adapter.read("gradients")).values()];
      return { loss: (await readF32(gpu, state))[8]!, gradients };
    },
  };
}

/** The GPU, with a limit for the first who asks: the head, before any tensor is placed. */
function cutOnce(maxTensorBytes: number): typeof gpu {
  let isAsked = false;
  return new Proxy(gpu, {
    get(target, key) {
      if (key === "maxTensorBytes" && !isAsked) {
        isAsked = true;
        return maxTensorBytes;
      }
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? (value as () => unknown).bind(target) : value;
    },
    set: (target, key, value) => Reflect.set(target, key, value, target),
  });
}

const chunks = await smallChunks();
const run = (microBatch: MicroBatch, rows?: number) => chunks.run(microBatch, rows);

test("chunks past the labeled rows change nothing, and are not dispatched", async () => {
  const few = withTargets((token) => token % 5 === 0);
  const all = await run(few, Infinity);
  expect(all.loss).toBeGreaterThan(0);
  expect(await run(few)).toEqual(all);
  const names = chunks.program.dispatchNames.filter((name) =>
    name.startsWith("cross-entropy.forward"),
  );
  expect(names.length).toBe(Math.ceil(whole.tokens / 8));
});

test("a run is the same to the bit after a run over other rows", async () => {
  const odd = withTargets((token) => token % 2 === 1);
  const first = await run(odd);
  await run(whole);
  expect(await run(odd)).toEqual(first);
});

test("losses and gradients of parts add up to those of the whole", async () => {
  const parts = [0, 1].map((rest) => withTargets((token) => token % 2 === rest));
  const [a, b] = [await run(parts[0]!), await run(parts[1]!)];
  const both = await run(whole);
  expect(a.loss + b.loss).toBeCloseTo(both.loss, 3);
  both.gradients.forEach(({ b: expected }, i) => {
    const largest = Math.max(...expected.map(Math.abs));
    expected.forEach((value, at) => {
      const sum = a.gradients[i]!.b[at]! + b.gradients[i]!.b[at]!;
      expect(Math.abs(sum - value)).toBeLessThan(1e-4 * largest);
    });
  });
});

test("without any label there is no loss and no gradient", async () => {
  await run(whole);
  const { loss, gradients } = await run(withTargets(() => false));
  expect(loss).toBe(0);
  for (const { a, b } of gradients) {
    expect([...a, ...b].every((value) => value === 0)).toBe(true);
  }
});
