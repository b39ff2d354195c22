// Whatever is stopped before it is done says so by name, and gives back all that it took of the GPU.
import { afterEach, expect, test, vi } from "vitest";
import { AbortedError } from "../../../src/base/error.ts";
import { parseConfig } from "../../../src/config/read.ts";
import type { TrainEvent } from "../../../src/engine.ts";
import { openChat } from "../../../src/engine/answers/chat.ts";
import { convertModel } from "../../../src/engine/exports/convert.ts";
import { evaluateData } from "../../../src/engine/answers/evaluate-data.ts";
import { merge } from "../../../src/engine/exports/export.ts";
import { quantizeModel } from "../../../src/engine/exports/quantize.ts";
import { train } from "../../../src/engine/runs/train.ts";
import { nodeHost, openDataSource, openFolder } from "../../../src/hosts/node.ts";
import { testGpu } from "../../gpu.ts";
import { temporaryFolder, writeTinyData, writeTinyModel } from "../tiny-folder.ts";

const path = writeTinyModel();
const model = openFolder(path);
const dataPath = writeTinyData();
const host = nodeHost({ adapter: "swiftshader" });
const gpu = await testGpu();

afterEach(() => {
  if (gpu.allocatedBytes > 0) throw new Error(`${gpu.allocatedBytes} bytes are still allocated`);
});

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

async function startTraining(
  signal: AbortSignal,
  onEvent: (event: TrainEvent) => void = () => {},
): Promise<unknown> {
  const data = [await openDataSource(dataPath)];
  const workDir = openFolder(temporaryFolder());
  return train(gpu, host, { config, model, data, workDir, signal, onEvent });
}

async function expectAborted(work: Promise<unknown>): Promise<void> {
  const fault: unknown = await work.catch((error: unknown) => error);
  expect(fault).toBeInstanceOf(AbortedError);
  expect(fault).toMatchObject({ name: "AbortedError" });
}

test.each(["data", "load", "compile"] as const)(
  "training stopped in its phase %s ends there",
  async (phase) => {
    const stop = new AbortController();
    const seen: string[] = [];
    await expectAborted(
      startTraining(stop.signal, (event) => {
        if (event.type !== "phase") return;
        seen.push(event.phase);
        if (event.phase === phase) stop.abort();
      }),
    );
    expect(seen.at(-1)).toBe(phase);
  },
);

test("weights stop coming with the slice in which it was said", async () => {
  const stop = new AbortController();
  let reads = 0;
  let readsThen = Infinity;
  const same = openFolder(path);
  const counted = vi.spyOn(model, "read").mockImplementation((...range) => {
    reads++;
    return same.read(...range);
  });
  await expectAborted(
    startTraining(stop.signal, (event) => {
      if (event.type !== "loading") return;
      readsThen = Math.min(readsThen, reads);
      stop.abort();
    }),
  );
  counted.mockRestore();
  expect(reads).toBe(readsThen); // of more than twenty
});

/** Aborts at the first word of progress after `after` of them. */
function stopAfter(after: number) {
  const stop = new AbortController();
  let calls = 0;
  return {
    signal: stop.signal,
    onProgress: () => void (++calls > after && stop.abort()),
  };
}

test("a chat stopped in loading, or with the last slice of its weights, holds nothing", async () => {
  await expectAborted(openChat(gpu, host.now, { model, ...stopAfter(0) }));
  expect(gpu.allocatedBytes).toBe(0);
  const stop = new AbortController();
  const onProgress = (bytes: number, total: number) => void (bytes === total && stop.abort());
  await expectAborted(openChat(gpu, host.now, { model, onProgress, signal: stop.signal }));
});

test.each([0, 1000])("an evaluation stopped after %i slices of weights", async (after) => {
  const { signal, onProgress } = stopAfter(after);
  const stop = new AbortController();
  await expectAborted(
    evaluateData(gpu, {
      model,
      data: [await openDataSource(dataPath)],
      datasetFormat: "auto",
      maxLength: 64,
      onProgress,
      onExample: () => stop.abort(),
      signal: after === 0 ? signal : stop.signal,
    }),
  );
});

const exports = {
  convertModel: (request: object, output: string) =>
    convertModel({ model, output: openFolder(output), form: "own", ...request }),
  quantizeModel: (request: object, output: string) =>
    quantizeModel(gpu, { model, output: openFolder(output), ...request }),
};

test.each(Object.entries(exports))(
  "%s stopped in the midst leaves no file of weights",
  async (_, start) => {
    const output = temporaryFolder();
    await expectAborted(start(stopAfter(3), output));
    expect((await openFolder(output).list()).filter((name) => /safetensors/.test(name))).toEqual(
      [],
    );
  },
);

test("a merge stopped in the midst frees its adapter and leaves no file of weights", async () => {
  const workDir = openFolder(temporaryFolder());
  const data = [await openDataSource(dataPath)];
  const plain = { ...config, evaluation_inputs: [], eval_split: 0 };
  await train(gpu, host, { config: plain, model, data, workDir, onEvent: () => {} });
  const output = temporaryFolder();
  for (const base of ["original", "nf4"] as const) {
    const request = { model, adapter: workDir.folder("iter_1"), output: openFolder(output), base };
    await expectAborted(merge(gpu, { ...request, ...stopAfter(5) }));
    expect(await openFolder(output).list()).toEqual([]);
    expect(gpu.allocatedBytes).toBe(0);
  }
});
