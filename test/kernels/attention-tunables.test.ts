import { expect, test } from "vitest";
import { Recorder } from "../../src/gpu/program.ts";
import { StepScalars } from "../../src/gpu/step-scalars.ts";
import { read } from "../../src/gpu/tensor.ts";
import { Workspace } from "../../src/gpu/workspace.ts";
import { ATTENTION_TUNABLES } from "../../src/kernels/attention-tunables.ts";
import type { TrialSizes, Tunable } from "../../src/kernels/tunable.ts";
import { largestDifference, nullGpu, testGpu } from "../gpu.ts";

const sizes: TrialSizes = {
  hidden: 128,
  intermediate: 256,
  heads: 4,
  kvHeads: 2,
  headSize: 32,
  rank: 8,
  tokens: 67,
  act: "f32",
};

const [forward, backward, halfForward, halfBackward] = ATTENTION_TUNABLES as [
  Tunable,
  Tunable,
  Tunable,
  Tunable,
];

test("a GPU tries tiles that its workgroup memory holds, then matrices that it has", async () => {
  const unit = { componentType: "f16", resultComponentType: "f32", M: 16, N: 16, K: 16 };
  const gpu = await nullGpu({ matrixConfigs: [unit] });
  // 16 KiB of workgroup memory.
  expect(forward.candidates(gpu, sizes)).toEqual(["direct", "tile 16"]);
  expect(backward.candidates(gpu, sizes)).toEqual(["direct", "tile 8"]);
  const inHalf: TrialSizes = { ...sizes, act: "f16" };
  expect(forward.candidates(gpu, inHalf)).toEqual(["direct"]);
  expect(halfForward.candidates(gpu, inHalf)).toEqual([
    "direct",
    "tile 32",
    "tile 16 f32",
    "matrix 16 of 16x16x16 f16",
  ]);
  expect(halfBackward.candidates(gpu, inHalf)).toContain("tile 16");
});

const adapter = await testGpu();

test.skipIf(!adapter.info.isFallbackAdapter)(
  "software tries lanes that hand rows to each other, and takes them untried",
  () => {
    for (const tunable of [forward, backward]) {
      expect(tunable.candidates(adapter, sizes)).toEqual(["direct", "lanes 8x8"]);
      expect(tunable.untried?.(adapter)).toBe("lanes 8x8");
    }
  },
);

test.each([
  [forward, "tile 16"],
  [backward, "tile 8"],
])("the trial of $slot gives the same results in $1", async (tunable, variant) => {
  const trial = tunable.trial(adapter, sizes);
  const results: Float32Array[] = [];
  for (const choice of ["direct", variant]) {
    const step = new StepScalars(adapter);
    const choices = { [tunable.slot]: choice };
    const recorder = new Recorder(adapter, "trial", new Workspace(adapter), step, choices);
    trial.record(recorder);
    const program = await recorder.build();
    expect(program.dispatchNames[0]).toMatch(choice === "direct" ? "SLOTS=" : "SLICE_QUADS=");
    program.run();
    await adapter.finish();
    results.push(new Float32Array(await read(adapter, trial.results[0]!)));
  }
  const [expected, actual] = results as [Float32Array, Float32Array];
  const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  expect(largest).toBeGreaterThan(0);
  expect(largestDifference(actual, expected)).toBeLessThan(trial.tolerance * largest);
});
