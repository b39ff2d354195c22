// A browser's storage with a model and data in it, as the services find it; and its state at any moment.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, vi } from "vitest";
import { parseConfig } from "../../src/config/read.ts";
import type { TrainConfig } from "../../src/config.ts";
import { openOpfs } from "../../src/hosts/opfs.ts";
import type { LiveEvent, NewRun } from "../../src/services/api.ts";
import { stubBrowser } from "../hosts/memory-browser.ts";
import type { MemoryDisk } from "../hosts/memory-opfs.ts";

export const MODEL = "seedling";
export const DATA = "sums";

const SEEDLING = new URL("../../public/models/seedling/", import.meta.url).pathname;

/** A fresh browser with that model folder and data file stored. */
export async function stubStored(
  model = SEEDLING,
  data = '{"messages":[{"role":"user","content":"1+1?"},{"role":"assistant","content":"2"}]}\n',
): Promise<MemoryDisk> {
  const disk = stubBrowser();
  const root = await openOpfs();
  const entry = root.folder(`models/${MODEL}`);
  const record = { id: MODEL, name: "Seedling", origin: { kind: "embedded" }, isComplete: true };
  await entry.write("hone.json", JSON.stringify(record));
  for (const name of readdirSync(model)) {
    await entry.write(`files/${name}`, new Uint8Array(readFileSync(join(model, name))));
  }
  const stored = root.folder(`data/${DATA}`);
  const bytes = Buffer.byteLength(data);
  await stored.write("data.json", JSON.stringify({ name: "sums.jsonl", bytes }));
  await stored.write("data.jsonl", data);
  await stored.write("index.json", "{}");
  return disk;
}

export function newRun(options: Record<string, unknown> = {}, name = "My run"): NewRun {
  return { name, modelId: MODEL, dataIds: [DATA], config: configOf(options) };
}

export function configOf(options: Record<string, unknown> = {}): TrainConfig {
  return parseConfig({ model: "x", data: ["x"], max_steps: 6, save_steps: 2, ...options }, "test");
}

interface StoredFile {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly lastModified: number;
}

/** What is on a disk at this moment: what a tab leaves that is closed now. */
export type Snapshot = ReadonlyMap<string, StoredFile>;

interface Directory {
  readonly entries: Map<
    string,
    Directory | { bytes: Uint8Array; length: number; lastModified: number }
  >;
}

/** Synchronous, so that nothing is in between. */
export function snapshotOf(disk: MemoryDisk): Snapshot {
  const files = new Map<string, StoredFile>();
  const walk = ({ entries }: Directory, path: string) => {
    for (const [name, entry] of entries) {
      if ("entries" in entry) walk(entry, `${path}${name}/`);
      else {
        const bytes = Uint8Array.from(entry.bytes.subarray(0, entry.length));
        files.set(path + name, { bytes, lastModified: entry.lastModified });
      }
    }
  };
  walk((disk.root as unknown as { directory: Directory }).directory, "");
  return files;
}

/** A fresh browser, no lock held, with what was on a disk then. */
export async function stubSnapshot(snapshot: Snapshot): Promise<MemoryDisk> {
  const disk = stubBrowser();
  for (const [path, { bytes, lastModified }] of snapshot) {
    const parts = path.split("/");
    let folder = disk.root;
    for (const part of parts.slice(0, -1)) {
      folder = await folder.getDirectoryHandle(part, { create: true });
    }
    disk.now = lastModified;
    const handle = await folder.getFileHandle(parts.at(-1)!, { create: true });
    const access = await (
      handle as unknown as { createSyncAccessHandle: Open }
    ).createSyncAccessHandle();
    access.write(bytes);
    access.close();
  }
  disk.now = undefined;
  return disk;
}

type Open = () => Promise<{ write(bytes: Uint8Array): void; close(): void }>;

/** Whoever leaves a handle open keeps all other tabs out. */
export function expectClosed({ openHandles }: MemoryDisk): void {
  expect(openHandles).toBe(0);
}

/** Collects what tabs tell each other until the end of the test. */
export function listenToTabs(): Record<string, unknown>[] {
  const heard: Record<string, unknown>[] = [];
  const channel = new BroadcastChannel("hone");
  channel.addEventListener("message", ({ data }: MessageEvent) => {
    heard.push(data as Record<string, unknown>);
  });
  onTestFinished(() => channel.close());
  return heard;
}

/** Lets waits of a second and more pass in milliseconds until the end of the test; returns them. */
export function hurryWaits(): number[] {
  const waits: number[] = [];
  const { setTimeout: real } = globalThis;
  const hurried = (action: () => void, ms = 0) => {
    if (ms >= 1000) waits.push(ms);
    return real(action, ms >= 1000 ? ms / 1000 : ms);
  };
  vi.stubGlobal("setTimeout", hurried);
  return waits;
}

/** A promise, and what keeps it. */
export function createGate(): { readonly opened: Promise<void>; readonly open: () => void } {
  const opening = new EventTarget();
  const opened = new Promise<void>((resolve) => {
    opening.addEventListener("open", () => resolve());
  });
  return { opened, open: () => opening.dispatchEvent(new Event("open")) };
}

export function stepsOf(events: readonly LiveEvent[]): number[] {
  return events.flatMap((event) => (event.type === "step" ? [event.step] : []));
}

export function statusesOf(events: readonly LiveEvent[]): string[] {
  return events.flatMap((event) => (event.type === "status" ? [event.status] : []));
}
