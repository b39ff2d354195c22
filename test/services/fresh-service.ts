// What tests of the engine's service begin with, each time anew: a browser's storage with a model and data in
// it, an engine that only counts, and the service over both.
import { afterEach, beforeEach, vi } from "vitest";
import type { EngineService, RunRecord } from "../../src/services/api.ts";
import { createEngineService } from "../../src/services/engine-service.ts";
import type { MemoryDisk } from "../hosts/memory-opfs.ts";
import { createFakeEngine, type FakeEngine } from "./fake-engine.ts";
import { expectClosed, stubStored } from "./stored.ts";

export interface Fresh {
  readonly disk: MemoryDisk;
  readonly engine: FakeEngine;
  readonly service: EngineService;
}

/** Hands `take` a fresh service before each test of the file, and sees after it that no file was left open. */
export function withFreshService(take: (fresh: Fresh) => void): void {
  let disk: MemoryDisk;
  beforeEach(async () => {
    disk = await stubStored();
    const engine = createFakeEngine();
    take({ disk, engine, service: createEngineService(engine) });
  });
  afterEach(() => {
    expectClosed(disk);
    vi.unstubAllGlobals();
  });
}

/** The newest run, and in most tests the only one. */
export async function newestRun(service: EngineService): Promise<RunRecord> {
  return (await service.listRuns())[0]!;
}
