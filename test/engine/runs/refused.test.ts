// A GPU that refuses memory: one sentence says which and how much, and all that was allocated is freed. Dawn
// refuses it before any driver is asked, so its null backend does, which compiles nothing.
import { expect, test } from "vitest";
import { UserError } from "../../../src/base/error.ts";
import { parseConfig } from "../../../src/config/read.ts";
import { createEngine, type Host } from "../../../src/engine.ts";
import { openChat } from "../../../src/engine/answers/chat.ts";
import { evaluateData } from "../../../src/engine/answers/evaluate-data.ts";
import { train } from "../../../src/engine/runs/train.ts";
import type { Gpu } from "../../../src/gpu/device.ts";
import { nodeHost, openDataSource, openFolder } from "../../../src/hosts/node.ts";
import { zeroGpu } from "../../gpu.ts";
import { temporaryFolder, writeTinyData, writeTinyModel } from "../tiny-folder.ts";

const path = writeTinyModel();
const model = openFolder(path);
const dataPath = writeTinyData();
const host = nodeHost({ adapter: "swiftshader" });

async function startTraining(gpu: Gpu): Promise<unknown> {
  const config = parseConfig(
    {
      model: path,
      data: [dataPath],
      max_length: 32,
      max_steps: 1,
      accumulative_counts: 1,
      eval_split: 0.1,
      evaluation_inputs: ["Who are you?"],
    },
    "the test",
  );
  const data = [await openDataSource(dataPath)];
  const workDir = openFolder(temporaryFolder());
  return train(gpu, host, { config, model, data, workDir, onEvent: () => {} });
}

const startChat = (gpu: Gpu): Promise<unknown> =>
  openChat(gpu, host.now, { model, contextTokens: 64 });

const startEvaluation = async (gpu: Gpu): Promise<unknown> =>
  evaluateData(gpu, {
    model,
    data: [await openDataSource(dataPath)],
    datasetFormat: "auto",
    maxLength: 64,
  });

test.each([
  ["model.embed_tokens.0", "training", startTraining],
  ["layers.1.gate_up.codes", "training", startTraining],
  ["adapter.0.m", "training", startTraining],
  ["optimizer.params", "training", startTraining],
  ["cache.1.values", "training", startTraining],
  ["evaluate.losses", "training", startTraining],
  ["layers.1.down", "chat", startChat],
  ["decode.params", "chat", startChat],
  ["evaluate.params", "evaluation", startEvaluation],
] as const)("%s refused at the start of %s", async (label, _, start) => {
  const gpu = await zeroGpu();
  refuse(gpu, label);
  const fault: unknown = await start(gpu).catch((error: unknown) => error);
  expect(fault).toBeInstanceOf(UserError);
  expect((fault as UserError).message).toContain(`for ${label}, with`);
  expect(gpu.allocatedBytes).toBe(0);
});

test("after a refusal the engine goes on", async () => {
  let isFirst = true;
  const refusing: Host = {
    ...host,
    async requestAdapter() {
      const adapter = await host.requestAdapter();
      if (!isFirst) return adapter;
      isFirst = false;
      const request = adapter.requestDevice.bind(adapter);
      return Object.assign(adapter, {
        async requestDevice(descriptor: GPUDeviceDescriptor) {
          const device = await request(descriptor);
          refuse({ device }, "layers.1.down");
          return device;
        },
      });
    },
  };
  const engine = createEngine(refusing);
  await expect(engine.openChat({ model, contextTokens: 64 })).rejects.toThrow("refused");
  const chat = await engine.openChat({ model, contextTokens: 64 });
  chat.close();
  engine.close();
});

/** Makes the device return an invalid buffer for this label, once, as it does when memory is out. */
function refuse({ device }: { device: GPUDevice }, label: string): void {
  const create = device.createBuffer.bind(device);
  const both = GPUBufferUsage.MAP_READ | GPUBufferUsage.MAP_WRITE; // which no buffer may have
  let isRefused = false;
  Object.assign(device, {
    createBuffer(descriptor: GPUBufferDescriptor) {
      if (isRefused || descriptor.label !== label) return create(descriptor);
      isRefused = true;
      return create({ ...descriptor, usage: both });
    },
  });
}
