// What was found by trying is kept: for the same adapter, kernels and sizes, and for nothing else.
import { beforeEach, expect, test, vi } from "vitest";
import { KernelCache, type KnownTrials } from "../../../src/engine/tuning/kernel-cache.ts";
import { createOpener, onGpu } from "../../../src/engine/opener.ts";
import { type OnTrying, type TuneMode, Tuner } from "../../../src/engine/tuning/tune.ts";
import type { Host } from "../../../src/engine.ts";
import { Gpu } from "../../../src/gpu/device.ts";
import { nodeHost, openFolder } from "../../../src/hosts/node.ts";
import type { AdapterChoice } from "../../../src/hosts/node-gpu.ts";
import type { Tunable } from "../../../src/kernels/tunable.ts";
import { testGpu } from "../../gpu.ts";
import { fakeTunable, HANGING_GRID, SIZES } from "./fake-tunable.ts";
import { temporaryFolder } from "../tiny-folder.ts";

const adapter = (process.env["HONE_ADAPTER"] ?? "swiftshader") as AdapterChoice;
const gpu = await testGpu();
/** The same device, said to be no software. */
const real = new Gpu(gpu.device, infoWith({ isFallbackAdapter: false }));
const work = { sizes: SIZES, uses: ["training"] as const };

let host: Host;
let folder: ReturnType<typeof openFolder>;
let tries: string[];

beforeEach(() => {
  folder = openFolder(temporaryFolder());
  host = { ...nodeHost({ adapter }), cache: () => Promise.resolve(folder) };
  tries = [];
});

function tunable(names: readonly string[], slot = "fake"): Tunable {
  return fakeTunable(names, { slot, onTrial: () => tries.push(slot) });
}

function tuner(mode: TuneMode, tunables: readonly Tunable[], kernels = "these"): Tuner {
  return new Tuner(host, { mode, tunables, kernels });
}

test("what is found is kept, and not tried again", async () => {
  const tunables = [tunable(["plain", "fast"]), tunable(["plain", "gap"], "other")];
  const steps: string[] = [];
  const shares: number[] = [];
  const onTrying: OnTrying = (done, total, { share }) => {
    if (share === undefined) steps.push(`${done} of ${total}`);
    else shares.push(done + share);
  };
  const found = await tuner("full", tunables).choose(gpu, work, { onTrying });
  expect(found).toEqual({ fake: "fast", other: "plain" });
  expect(steps).toEqual(["0 of 2", "1 of 2", "2 of 2"]);
  expect(shares.length).toBeGreaterThan(0); // ten times a second at most
  expect(shares).toEqual(shares.toSorted((x, y) => x - y));
  expect(shares.at(-1)).toBeLessThanOrEqual(2);
  expect(tries).toEqual(["fake", "other"]);
  expect(gpu.choices).toEqual({}); // whose work it is sets them

  expect(await tuner("full", tunables).choose(gpu, work, { onTrying })).toEqual(found);
  expect(tries).toHaveLength(2);
  expect(steps).toHaveLength(3);
  // A table tells the same, and tries anew where it is told to.
  const table = await tuner("full", tunables).table(gpu, work);
  expect(table.tried[0]?.slots.map(({ slot, chosen }) => [slot, chosen])).toEqual([
    ["fake", "fast"],
    ["other", "plain"],
  ]);
  await tuner("quick", tunables).table(gpu, work, "full");
  expect(tries).toHaveLength(4);
});

test("a kernel is tried with what was found for those before it", async () => {
  const seen: unknown[] = [];
  const outer = tunable(["plain", "same"], "outer");
  const spy: Tunable = {
    ...outer,
    trial(device, sizes) {
      const trial = outer.trial(device, sizes);
      const record: typeof trial.record = (recorder) => {
        seen.push(recorder.choice("inner"));
        trial.record(recorder);
      };
      return { ...trial, record };
    },
  };
  await tuner("full", [tunable(["plain", "fast"], "inner"), spy]).choose(gpu, work);
  expect(seen).toEqual(["fast", "fast"]);
});

test("off tries nothing, nor does quick on software", async () => {
  const tunables = [tunable(["plain", "fast"])];
  expect(await tuner("off", tunables).choose(real, work)).toEqual({});
  expect(await tuner("quick", tunables).choose(gpu, work)).toEqual({});
  expect(tries).toEqual([]);
  expect((await tuner("quick", tunables).table(gpu, work)).why).toBe("software");
  expect(await tuner("quick", tunables).choose(real, work)).toEqual({ fake: "fast" });
  expect((await tuner("quick", tunables).table(real, work)).why).toBeUndefined();
});

test("of a kernel that the work does not use, or that has no choice, nothing is tried", async () => {
  const tunables = [
    fakeTunable(["plain", "fast"], { use: "generation", onTrial: () => tries.push("generation") }),
    tunable(["plain"]),
    tunable([]),
  ];
  expect(await tuner("full", tunables).choose(gpu, work)).toEqual({});
  expect(tries).toEqual([]);
});

test("other kernels, sizes, candidates, adapters and damaged files are no answer", async () => {
  const tunables = [tunable(["plain", "fast"])];
  const choose = (over: Tunable[] = tunables, on = gpu, sizes = SIZES, kernels = "these") =>
    tuner("full", over, kernels).choose(on, { ...work, sizes });
  await choose();
  await choose(tunables, gpu, SIZES, "those");
  expect(await folder.list()).toHaveLength(1); // in the place of the others'
  await choose();
  expect(tries).toHaveLength(3);
  await choose(tunables, gpu, { ...SIZES, tokens: 64 });
  await choose([tunable(["plain", "same", "fast"])]);
  expect(tries).toHaveLength(5);
  const elsewhere = new Gpu(gpu.device, infoWith({ description: "another driver" }));
  await choose(tunables, elsewhere);
  await choose();
  await choose(tunables, elsewhere);
  expect(tries).toHaveLength(7);
  for (const name of await folder.list()) await folder.write(name, '{"format": 1, "slots": [{}]}');
  expect(await choose()).toEqual({ fake: "fast" });
  expect(tries).toHaveLength(8);
});

test("a folder that cannot be written to, or is not there, costs a second trial and no more", async () => {
  const broken = { ...folder, write: () => Promise.reject(new Error("full")) };
  for (const cache of [() => Promise.resolve(broken), () => Promise.reject(new Error("none"))]) {
    host = { ...host, cache };
    const tunables = [tunable(["plain", "fast"])];
    expect(await tuner("full", tunables).choose(gpu, work)).toEqual({ fake: "fast" });
  }
  expect(tries).toHaveLength(2);
});

test("a kernel over which the program ended twice is left alone", async () => {
  const tunables = [tunable(["plain", "fast"])];
  const cache = new KernelCache(host, gpu, "these");
  await cache.write({ sizes: SIZES, slots: [], unended: { fake: 2 } });
  const { tried } = await tuner("full", tunables)
    .table(gpu, work, "full")
    .catch(() => ({ tried: [] }));
  expect(tried[0]?.slots[0]?.chosen).toBe("fast"); // asked for by name, it is tried all the same
  await cache.write({ sizes: SIZES, slots: [], unended: { fake: 2 } });
  tries = [];
  expect(await tuner("full", tunables).choose(gpu, work)).toEqual({ fake: "plain" });
  expect(tries).toEqual([]);
  // One that somebody broke off is not.
  await cache.write({ sizes: SIZES, slots: [], unended: {} });
  const abort = new AbortController();
  const onTrying = () => abort.abort();
  const broken = tuner("full", tunables).choose(gpu, work, { onTrying, signal: abort.signal });
  await expect(broken).rejects.toThrow("stopped before it was done");
  expect((await cache.read(SIZES))?.unended).toEqual({});
});

test("a device that is lost over a kernel takes nothing else with it", async () => {
  const deadly: Tunable = {
    ...tunable(["plain", "deadly"], "deadly"),
    trial(device, sizes) {
      const trial = tunable(["plain", "fast"], "deadly").trial(device, sizes);
      return {
        ...trial,
        record(recorder) {
          if (recorder.choice("deadly") === "deadly") recorder.gpu.device.destroy();
          else trial.record(recorder);
        },
      };
    },
  };
  const tunables = [deadly, tunable(["plain", "fast"])];
  const choose = () => tuner("full", tunables).choose(gpu, work);
  // All were being compiled: none is known to be to blame, and it is tried once more.
  expect(await choose()).toEqual({ fake: "fast" });
  expect(await choose()).toEqual({ fake: "fast" });
  expect(tries).toEqual(["deadly", "fake", "deadly"]);
  expect(await choose()).toEqual({ deadly: "plain", fake: "fast" });
  expect(tries).toHaveLength(3);
  expect(gpu.isLost).toBe(false);
});

test("a variant that hangs the GPU as it runs is known as bad from then on, and the others are tried without it", async () => {
  const devices: Gpu[] = [];
  const names = ["plain", "hangs", "fast"];
  const tunables = [fakeTunable(names, { onTrial: (device) => devices.push(device) })];
  const choose = () => tuner("full", tunables).choose(gpu, work);
  // oxlint-disable-next-line typescript/unbound-method -- called on what it is a method of
  const { dispatchWorkgroups } = GPUComputePassEncoder.prototype;
  const dispatch = vi.spyOn(GPUComputePassEncoder.prototype, "dispatchWorkgroups");
  dispatch.mockImplementation(function lose(this: GPUComputePassEncoder, x, ...rest) {
    // As a driver does that waits for nothing longer than some seconds.
    if (x === HANGING_GRID) devices.at(-1)?.device.destroy();
    dispatchWorkgroups.call(this, x, ...rest);
  });
  try {
    expect(await choose()).toEqual({ fake: "fast" });
    expect(devices).toHaveLength(2); // the second without it
    expect(gpu.isLost).toBe(false);
    const kept = await new KernelCache(host, gpu, "these").read(SIZES);
    const [, hanging] = kept?.slots[0]?.variants ?? [];
    expect(hanging?.fault?.words).toContain("The GPU was lost");
    expect(await choose()).toEqual({ fake: "fast" });
    expect(devices).toHaveLength(2);
  } finally {
    dispatch.mockRestore();
  }
});

test("where the reset of a driver takes all devices, the work begins again on a new one", async () => {
  const opener = createOpener(host, {});
  try {
    // Stands for the driver: the device of the work goes while a kernel is tried.
    const tunables = [fakeTunable(["plain", "fast"], { onTrial: () => void opener.lose() })];
    const lost: Gpu[] = [];
    const choose = async (own: Gpu) => {
      lost.push(own);
      return tuner("full", tunables).choose(own, work);
    };
    expect(await onGpu(opener, choose)).toEqual({ fake: "fast" });
    expect(lost.map(({ isLost }) => isLost)).toEqual([true, false]);
    // Without a place to keep what was found it would be lost again and again: that is told.
    host = { ...host, cache: () => Promise.reject(new Error("none")) };
    await expect(onGpu(opener, choose)).rejects.toThrow(
      "The GPU was lost (while kernel variants were tried).",
    );
    expect(lost).toHaveLength(4);
  } finally {
    opener.close();
  }
});

test("memory that was out for a trial is told, and tried again at the next start", async () => {
  let isOut = true;
  const onTrial = (device: Gpu) => isOut && device.allocate("huge", "f32", [2 ** 40]);
  const tunables = [fakeTunable(["plain", "fast"], { onTrial })];
  const { tried } = await tuner("full", tunables).table(gpu, work, "full");
  expect(tried[0]?.slots[0]?.variants[0]?.fault?.words).toMatch(/huge needs one buffer/);
  expect((await new KernelCache(host, gpu, "these").read(SIZES))?.slots).toEqual([]);
  isOut = false;
  expect(await tuner("full", tunables).choose(gpu, work)).toEqual({ fake: "fast" });
});

test("when its five seconds are over, quick decides by what it knows, and goes on at the next start", async () => {
  // The clock leaps when matrices are about to be tried: the others have been by then.
  let leap = 0;
  host = { ...host, now: () => performance.now() + leap };
  const recorded: string[] = [];
  const names = ["plain", "slow", "matrix fast"];
  const watched = (from: Tunable): Tunable => ({
    ...from,
    trial(device, sizes) {
      const trial = from.trial(device, sizes);
      const record: typeof trial.record = (recorder) => {
        const choice = recorder.choice("a") ?? "";
        recorded.push(choice);
        if (choice === "matrix fast" && isShort) leap += 6000;
        trial.record(recorder);
      };
      return { ...trial, record };
    },
  });
  const tunables = [watched(tunable(names, "a")), tunable(["plain", "fast"], "b")];
  const choose = () => tuner("quick", tunables).choose(real, work);
  const kept = async () => (await new KernelCache(host, real, "these").read(SIZES))?.slots[0];

  let isShort = true;
  expect(await choose()).toEqual({ a: "plain" });
  expect(recorded).toEqual(["plain", "slow", "plain", "matrix fast"]);
  expect((await kept())?.variants[2]).toEqual({ name: "matrix fast", begun: 1 });

  isShort = false;
  recorded.length = 0;
  expect(await choose()).toEqual({ a: "matrix fast", b: "fast" });
  expect(recorded).toEqual(["plain", "matrix fast"]); // of "slow" all is known
  const [, slow, matrix] = (await kept())?.variants ?? [];
  expect(slow?.seconds).toBeGreaterThan(matrix?.seconds ?? Infinity);
  recorded.length = 0;
  await choose();
  expect(recorded).toEqual([]);
});

test("a variant that the time was too short for twice is left alone, and a crash costs no more than its turn", async () => {
  const names = ["plain", "fast", "matrix fast"];
  const tunables = [tunable(names)];
  const cache = new KernelCache(host, real, "these");
  const variants = [
    { name: "plain", seconds: 2 },
    { name: "fast", seconds: 1 },
    { name: "matrix fast", begun: 2 },
  ];
  const known = { slot: "fake", variants, chosen: "fast", isFull: false };
  await cache.write({ sizes: SIZES, slots: [known], unended: {} });
  expect(await tuner("quick", tunables).choose(real, work)).toEqual({ fake: "fast" });
  variants[2] = { name: "matrix fast" } as (typeof variants)[2];
  await cache.write({ sizes: SIZES, slots: [known], unended: { fake: 2 } });
  expect(await tuner("quick", tunables).choose(real, work)).toEqual({ fake: "fast" });
  expect(tries).toEqual([]);
});

test("what was found of the first variant alone says nothing against the one that a kernel takes untried", async () => {
  const tunables = [{ ...tunable(["plain", "same", "fast"]), untried: () => "fast" }];
  const plain = { name: "plain", seconds: 2 };
  const known = async (...others: readonly object[]) => {
    const found = { slot: "fake", variants: [plain, ...others], chosen: "plain", isFull: true };
    const cache = JSON.parse(JSON.stringify({ sizes: SIZES, slots: [found], unended: {} }));
    await new KernelCache(host, gpu, "these").write(cache as KnownTrials);
    return tuner("full", tunables).choose(gpu, work);
  };
  const same = { name: "same", seconds: 3 };
  const fault = { kind: "crashed", words: "the program ended" };
  expect(await known(same, { name: "fast", begun: 2 })).toEqual({});
  expect(await known(same, { name: "fast", seconds: 4 })).toEqual({ fake: "plain" });
  expect(await known(same, { name: "fast", fault })).toEqual({ fake: "plain" });
  expect(tries).toEqual([]);
});

test("a device that has matrices, or is told to do without, has what is known of its own kind", async () => {
  const tunables = [tunable(["plain", "fast"])];
  await tuner("full", tunables).choose(gpu, work);
  const other = Object.defineProperty(new Gpu(gpu.device, infoWith({})), "matrixConfigs", {
    value: [{ componentType: "f16", resultComponentType: "f32", M: 16, N: 16, K: 16 }],
  });
  await tuner("full", tunables).choose(other, work);
  expect(tries).toHaveLength(2);
  expect(await folder.list()).toHaveLength(2);
});

/** What the adapter tells of itself, but for some of it: its fields are getters of its class. */
function infoWith(change: Partial<Record<keyof GPUAdapterInfo, unknown>>): GPUAdapterInfo {
  const { vendor, architecture, device, description, isFallbackAdapter } = gpu.info;
  const own = { vendor, architecture, device, description, isFallbackAdapter };
  return { ...own, ...change } as GPUAdapterInfo;
}
