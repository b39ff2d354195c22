// Exports of the engine's service on the real engine: what leaves the browser speaks as what stayed in it.
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { unzipSync } from "fflate";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { createEngine } from "../../../src/engine.ts";
import { nodeHost, openFolder } from "../../../src/hosts/node.ts";
import type { AdapterChoice } from "../../../src/hosts/node-gpu.ts";
import { openOpfs, opfsFolder } from "../../../src/hosts/opfs.ts";
import type { EngineService } from "../../../src/services/api.ts";
import { createEngineService } from "../../../src/services/engine-service.ts";
import type { MemoryDisk } from "../../hosts/memory-opfs.ts";
import {
  MODEL,
  newRun,
  snapshotOf,
  type Snapshot,
  stubSnapshot,
  stubStored,
} from "../../services/stored.ts";
import { temporaryFolder, tinyRows, writeTinyModel } from "../tiny-folder.ts";

const adapter = (process.env["HONE_ADAPTER"] ?? "swiftshader") as AdapterChoice;
const engine = createEngine(nodeHost({ adapter }));
const model = writeTinyModel();
const MESSAGES = [{ role: "user", content: "What is 2 plus 2?" }] as const;

let trained: Snapshot;
let runId: string;
let disk: MemoryDisk;
let service: EngineService;

beforeAll(async () => {
  const data = tinyRows(20).map((row) => `${JSON.stringify(row)}\n`);
  disk = await stubStored(model, data.join(""));
  service = createEngineService(engine);
  // A rate so high that two steps change every answer.
  const options = { max_length: 32, accumulative_counts: 1, max_steps: 2, lr: 0.1, lora: { r: 4 } };
  ({ id: runId } = await service.createRun(newRun(options)));
  await service.startRun(runId, () => {});
  trained = snapshotOf(disk);
});

afterEach(() => vi.unstubAllGlobals());
afterAll(() => engine.close());

test("the adapter from the archive, loaded from a disk, gives the very logits of the browser's", async () => {
  await restart();
  const tuned = await service.firstLogits(
    {
      modelId: MODEL,
      adapter: { kind: "run", runId, checkpoint: "iter_2" },
      quantization: "nf4",
      contextTokens: 64,
    },
    MESSAGES,
  );
  const base = await service.firstLogits(
    { modelId: MODEL, quantization: "nf4", contextTokens: 64 },
    MESSAGES,
  );
  await service.closeChat();
  const result = await service.exportAdapter(runId, "iter_2");
  expect(result.check).toMatch(/^14 pairs of matrices read back equal/); // 7 linears in 2 layers
  const zip = await service.zipExport(result.id, "adapter.zip");
  const folder = temporaryFolder();
  for (const [name, bytes] of Object.entries(unzipSync(new Uint8Array(await zip.arrayBuffer())))) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), bytes);
  }
  const chat = await engine.openChat({
    model: openFolder(model),
    adapter: openFolder(folder),
    quantization: "nf4",
    contextTokens: 64,
  });
  const elsewhere = await chat.logits(MESSAGES);
  chat.close();
  expect(elsewhere).toEqual(tuned);
  expect(elsewhere, "and the adapter does something").not.toEqual(base);
});

test("merged weights in a picked folder are those in storage, and load by themselves", async () => {
  await restart();
  const options = { dtype: "own", base: "original", maxShardBytes: 200_000 } as const;
  const target = disk.pickedFolder("out");
  const progress: (readonly [number, number])[] = [];
  const picked = await service.exportMerged(runId, "iter_2", options, target, (...at) =>
    progress.push(at),
  );
  const stored = await service.exportMerged(runId, "iter_2", options, undefined, () => {});
  expect(picked.files).toEqual(stored.files);
  expect(picked.files.filter(({ name }) => name.endsWith(".safetensors")).length).toBeGreaterThan(
    1,
  );
  expect(progress.at(-1)![0]).toBe(progress.at(-1)![1]);
  const output = opfsFolder(target, "out");
  for (const { name, bytes } of stored.files) {
    const file = await service.exportedFile(stored.id, name);
    expect(file.size).toBe(bytes);
    expect(Buffer.from(await file.arrayBuffer()).equals(await output.read(name)), name).toBe(true);
  }
  const chat = await engine.openChat({ model: output, contextTokens: 64 });
  expect((await chat.logits(MESSAGES)).every(Number.isFinite)).toBe(true);
  chat.close();
  // Files that were handed out may be on their way to a disk: that export stays for a while.
  const unread = await service.exportAdapter(runId, "iter_2");
  await service.deleteExport(stored.id);
  await service.deleteExport(unread.id);
  expect(await (await openOpfs()).folder("exports").list()).toEqual([stored.id]);
});

async function restart(): Promise<void> {
  disk = await stubSnapshot(trained);
  service = createEngineService(engine);
}
