// Pipelines are compiled while weights are read: they are there when programs are recorded, and whatever goes
// wrong meanwhile leaves nothing on the GPU.
import { expect, test } from "vitest";
import { AbortedError } from "../../src/base/error.ts";
import { parseConfig } from "../../src/config/read.ts";
import type { TrainEvent } from "../../src/engine.ts";
import { openModelFolder } from "../../src/engine/model-folder.ts";
import { allocateRun, type LoadableModel } from "../../src/engine/runs/run-parts.ts";
import { openFolder } from "../../src/hosts/node.ts";
import type { SourceTensor } from "../../src/model/files/checkpoint-files.ts";
import { nullGpu } from "../gpu.ts";
import { temporaryFolder, writeTinyModel } from "./tiny-folder.ts";

const gpu = await nullGpu(); // compiles every shader, and computes nothing
const source = await openModelFolder(openFolder(writeTinyModel("F16", false)));
const config = parseConfig(
  {
    model: temporaryFolder(),
    data: ["none"],
    max_length: 32,
    quantization: "none", // nothing is computed before the first step
    evaluation_inputs: ["Who are you?"],
    evaluation_max_new_tokens: 8,
    lora: { r: 4 },
  },
  "the test",
);
const shape = { config, checkpointing: true, holdsOut: true };

/** The same files; `read` is called before each read. */
function watched(read: () => Promise<void> | void): LoadableModel {
  const tensors = [...source.files.tensors].map(([name, tensor]): [string, SourceTensor] => [
    name,
    {
      ...tensor,
      async read(start, end, into) {
        await read();
        return tensor.read(start, end, into);
      },
    },
  ]);
  return { ...source, files: { ...source.files, tensors: new Map(tensors) } };
}

/** Waits for pipelines. */
async function compiled(most = 400): Promise<void> {
  const before = gpu.creations.pipelines;
  for (let i = 0; i < most && gpu.creations.pipelines === before; i++) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test("all pipelines of a run are begun before its weights are read, and none after", async () => {
  const before = gpu.allocatedBytes;
  const events: string[] = [];
  let waits: Promise<void> | undefined;
  let pipelines = 0;
  const onEvent = (event: TrainEvent) => {
    events.push(event.type === "phase" ? event.phase : event.type);
    if (event.type === "phase" && event.phase === "compile") pipelines = gpu.creations.pipelines;
  };
  // The first read goes on until something is being compiled.
  const parts = await allocateRun(
    gpu,
    watched(() => (waits ??= compiled())),
    shape,
    onEvent,
  );
  expect(pipelines).toBeGreaterThan(20);
  expect(gpu.creations.pipelines).toBe(pipelines);
  expect(events[0]).toBe("load");
  expect(events.at(-1)).toBe("compile");
  expect(new Set(events.slice(1, -1))).toEqual(new Set(["loading"]));
  parts.free();
  expect(gpu.allocatedBytes).toBe(before);
});

test("loading is told at its start, ten times a second at most, and at its end", async () => {
  const told: number[] = [];
  const began = performance.now();
  const parts = await allocateRun(gpu, source, shape, (event) => {
    if (event.type === "loading") told.push(event.bytes);
  });
  const tenths = (performance.now() - began) / 100;
  parts.free();
  expect(source.files.tensors.size).toBeGreaterThan(20); // each of which is read by itself
  expect(told.length).toBeGreaterThanOrEqual(2);
  expect(told.length).toBeLessThanOrEqual(2 + tenths);
  expect(told.at(-1)).toBe(source.files.totalBytes);
});

test("a run that is stopped or breaks while weights are read leaves nothing", async () => {
  const before = gpu.allocatedBytes;
  const stop = new AbortController();
  const aborted = allocateRun(gpu, source, shape, () => stop.abort(), stop.signal);
  await expect(aborted).rejects.toBeInstanceOf(AbortedError);
  expect(gpu.allocatedBytes).toBe(before);

  let reads = 0;
  const broken = watched(() => {
    if (++reads === 4) throw new Error("The disk is gone.");
  });
  await expect(allocateRun(gpu, broken, shape, () => {})).rejects.toThrow("The disk is gone.");
  expect(gpu.allocatedBytes).toBe(before);
});

test("a shader that does not compile is told when weights are there, and they are freed", async () => {
  const own = await nullGpu();
  const create = own.device.createComputePipelineAsync.bind(own.device);
  Object.assign(own.device, {
    createComputePipelineAsync: (descriptor: GPUComputePipelineDescriptor) =>
      descriptor.label?.startsWith("cross-entropy")
        ? Promise.reject(new Error("it does not compile"))
        : create(descriptor),
  });
  const bytes: number[] = [];
  const onEvent = (event: TrainEvent) => {
    if (event.type === "loading") bytes.push(event.bytes);
  };
  await expect(allocateRun(own, source, shape, onEvent)).rejects.toThrow("it does not compile");
  expect(bytes.at(-1)).toBe(source.files.totalBytes);
  expect(own.allocatedBytes).toBe(0);
  own.close();
});
