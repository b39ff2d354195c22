// Of a kernel's variants the fastest that is right is found, and what is wrong with the others is told.
import { expect, test } from "vitest";
import { type TryOptions, tryVariants } from "../../../src/engine/tuning/try-variants.ts";
import { Gpu } from "../../../src/gpu/device.ts";
import { testGpu } from "../../gpu.ts";
import { fakeTunable, SIZES } from "./fake-tunable.ts";

const gpu = await testGpu();

const patient: TryOptions = {
  now: () => performance.now(),
  isOver: () => false,
  checkedBytes: Infinity,
};

test("the fastest that is right is chosen; the others are named with what is wrong", async () => {
  const before = gpu.allocatedBytes;
  const names = ["plain", "slow", "wrong", "nan", "gap", "broken", "refused", "fast"];
  const { chosen, variants } = await tryVariants(gpu, fakeTunable(names), SIZES, patient);
  const of = Object.fromEntries(variants.map((variant) => [variant.name, variant]));

  expect(variants.map(({ name }) => name)).toEqual(names);
  expect(chosen).toBe("fast");
  expect(of["fast"]?.seconds).toBeGreaterThan(0);
  expect(of["fast"]?.seconds).toBeLessThan(of["plain"]?.seconds ?? 0);
  expect(of["slow"]?.seconds).toBeGreaterThan(of["plain"]?.seconds ?? Infinity);
  expect(of["wrong"]?.fault?.words).toMatch(/^its results are wrong, by 1\.0e\+0 of the largest$/);
  expect(of["nan"]?.fault?.words).toMatch(/no number/);
  expect(of["gap"]?.fault?.words).toMatch(/unwritten/);
  expect(of["broken"]?.fault?.words).toMatch(/return statement type/);
  expect(of["refused"]?.fault?.words).toMatch(
    /takes 70,000 workgroups in a row; WebGPU allows 65,535/,
  );
  // Nothing of it stays, and the device is as good as new.
  expect(gpu.isLost).toBe(false);
  expect(gpu.allocatedBytes).toBe(before);
});

test("one that is as fast is not chosen, nor one that writes other bits when it runs again", async () => {
  const names = ["plain", "same", "unsteady"];
  const { chosen, variants } = await tryVariants(gpu, fakeTunable(names), SIZES, patient);
  // "same" may be ahead by chance, on a busy machine: never because it is another.
  expect(["plain", "same"]).toContain(chosen);
  expect(variants[2]?.fault?.words).toBe("run again, it writes other bits");
});

test("when the time is up, what is known decides", async () => {
  const names = ["plain", "fast", "slow"];
  const over = { ...patient, isOver: () => true };
  const { chosen, variants } = await tryVariants(gpu, fakeTunable(names), SIZES, over);
  expect(chosen).toBe("plain");
  expect(variants).toEqual(names.map((name) => ({ name })));
});

test("neither a compiler nor the GPU is waited for when it is broken off", async () => {
  for (const held of ["createComputePipelineAsync", "onSubmittedWorkDone"] as const) {
    const slow = new Gpu(gpu.device, gpu.info); // without what was compiled before
    const owner = held === "onSubmittedWorkDone" ? gpu.device.queue : gpu.device;
    const abort = new AbortController();
    const forever = () => {
      setTimeout(() => abort.abort(), 20);
      return new Promise<never>(() => {});
    };
    Object.defineProperty(owner, held, { value: forever, configurable: true });
    try {
      const trying = tryVariants(slow, fakeTunable(["plain", "fast"]), SIZES, {
        ...patient,
        signal: abort.signal,
      });
      await expect(trying, held).rejects.toThrow("stopped before it was done");
    } finally {
      Reflect.deleteProperty(owner, held);
    }
  }
});

test("a compiler is not waited for when the time is up: what it was to make counts as begun", async () => {
  const slow = new Gpu(gpu.device, gpu.info); // without what was compiled before
  Object.defineProperty(gpu.device, "createComputePipelineAsync", {
    value: () => new Promise<GPUComputePipeline>(() => {}),
    configurable: true,
  });
  try {
    const start = performance.now();
    const isOver = () => performance.now() - start > 100;
    const options = { ...patient, isOver };
    const trial = await tryVariants(slow, fakeTunable(["plain", "fast"]), SIZES, options);
    expect(trial.chosen).toBe("plain");
    expect(trial.variants).toEqual([
      { name: "plain", begun: 1 },
      { name: "fast", begun: 1 },
    ]);
    expect(slow.allocatedBytes).toBe(0);
  } finally {
    Reflect.deleteProperty(gpu.device, "createComputePipelineAsync");
  }
});

test("a first variant that is wrong itself, or has no room, is kept and told", async () => {
  const wrong = await tryVariants(gpu, fakeTunable(["gap", "fast"]), SIZES, patient);
  expect(wrong.chosen).toBe("gap");
  expect(wrong.variants[0]?.fault?.words).toMatch(/unwritten/);
  const tunable = fakeTunable(["plain", "fast"], {
    onTrial: (device) => device.allocate("huge", "f32", [2 ** 40]),
  });
  const large = await tryVariants(gpu, tunable, SIZES, patient);
  expect(large.chosen).toBe("plain");
  expect(large.variants[0]?.fault?.words).toMatch(/huge needs one buffer/);
});

test("long results are checked at their ends and in between", async () => {
  const parts = { ...patient, checkedBytes: 512 };
  const { variants } = await tryVariants(gpu, fakeTunable(["plain", "gap"]), SIZES, parts);
  expect(variants[1]?.fault?.words).toMatch(/unwritten/);
});
