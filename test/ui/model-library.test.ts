// What follows from the list of models: bases of adapters, room on disk, names, and the rate of a transfer.
import { describe, expect, test } from "vitest";
import type { HubModel, StoredModel } from "../../src/services/api.ts";
import {
  baseOf,
  formatParameters,
  isRepoName,
  isStoredAs,
  missingBytes,
  nameOfFiles,
  remember,
} from "../../src/ui/model-library.ts";
import { addSample, rateOf, type RateSample } from "../../src/ui/transfer-rate.ts";

const LOCAL: StoredModel = {
  id: "qwen2-5-0-5b-instruct",
  kind: "model",
  name: "Qwen2.5-0.5B-Instruct",
  origin: { kind: "local" },
  bytes: 7,
  addedAt: "2026-01-01T00:00:00Z",
  usedAt: "2026-01-01T00:00:00Z",
};
const FROM_HUB: StoredModel = {
  ...LOCAL,
  id: "qwen2-5-0-5b-instruct-2",
  origin: { kind: "hub", repo: "Qwen/Qwen2.5-0.5B-Instruct", revision: "main", commit: "c0ffee" },
};

describe("the base of an adapter", () => {
  const adapter = { baseModel: "Qwen/Qwen2.5-0.5B-Instruct" };

  test("is the one of the same repo, before one of the same name", () => {
    expect(baseOf(adapter, [LOCAL, FROM_HUB])).toBe(FROM_HUB);
    expect(baseOf(adapter, [LOCAL])).toBe(LOCAL);
  });

  test("is found by the last part of a folder of another machine", () => {
    const trained = { baseModel: "/data/models/qwen2.5-0.5b-instruct/" };
    expect(baseOf(trained, [LOCAL])).toBe(LOCAL);
    expect(baseOf({ baseModel: "C:\\models\\Qwen2.5-0.5B-Instruct" }, [LOCAL])).toBe(LOCAL);
  });

  test("is no other adapter, no broken download, and nothing where none is named", () => {
    expect(baseOf(adapter, [{ ...LOCAL, kind: "adapter" }])).toBeUndefined();
    expect(baseOf(adapter, [{ ...FROM_HUB, partialBytes: 3 }])).toBeUndefined();
    expect(baseOf({}, [LOCAL])).toBeUndefined();
    expect(baseOf({ baseModel: "" }, [{ ...LOCAL, name: "" }])).toBeUndefined();
  });
});

test("only org/name can be looked up as a base", () => {
  expect(["org/name", "org/name-1.5_b"].map(isRepoName)).toEqual([true, true]);
  expect(["name", "/data/x", "a/b/c", "../x", "org/", "org/na me"].map(isRepoName)).toEqual(
    Array.from({ length: 6 }, () => false),
  );
});

test("what was found is here if the same folder of the same commit is, and whole", () => {
  const repo = "Qwen/Qwen2.5-0.5B-Instruct";
  const found = { repo, commit: "c0ffee", estimateId: `hub:${repo}@c0ffee` } as HubModel;
  const folder = { ...found, estimateId: `hub:${repo}@c0ffee/lora` };
  const stored = { ...FROM_HUB, name: repo };
  expect(isStoredAs(found, stored)).toBe(true);
  expect(isStoredAs(folder, stored)).toBe(false);
  expect(isStoredAs(folder, { ...stored, name: `${repo}/lora` })).toBe(true);
  expect(isStoredAs({ ...found, commit: "decade" }, stored)).toBe(false);
  expect(isStoredAs(found, { ...stored, partialBytes: 3 })).toBe(false);
  expect(isStoredAs(found, LOCAL)).toBe(false);
});

test("what is there already needs no room, and a browser that tells no quota is believed", () => {
  const model = { totalBytes: 1000, partialBytes: 300 } as HubModel;
  const storage = { usedBytes: 450, quotaBytes: 1000, isPersistent: false, hasOpfs: true };
  expect(missingBytes(model, storage)).toBe(150);
  expect(missingBytes({ ...model, partialBytes: 450 }, storage)).toBe(0);
  expect(missingBytes(model, { ...storage, quotaBytes: 0 })).toBe(0);
  expect(missingBytes(model, undefined)).toBe(0);
});

test("files are named after their folder, and a single file after itself", () => {
  expect(nameOfFiles(at("smol/config.json", "smol/model.safetensors"))).toBe("smol");
  expect(nameOfFiles(at("SmolLM2-135M.Q4_1.gguf"))).toBe("SmolLM2-135M.Q4_1");
  expect(nameOfFiles(at("config.json", "model.safetensors"))).toBe("config.json");
  expect(nameOfFiles([])).toBe("");
});

test("texts looked up are remembered once each, five at most, the newest first", () => {
  expect(remember(["a", "b", "c"], "b")).toEqual(["b", "a", "c"]);
  expect(remember(["a", "b", "c", "d", "e"], "f")).toEqual(["f", "a", "b", "c", "d"]);
});

test("parameters are said as models are named after them", () => {
  expect([999, 1_084_000, 134_515_008, 1_543_714_304].map(formatParameters)).toEqual([
    "999",
    "1.1 M",
    "134.5 M",
    "1.54 B",
  ]);
});

describe("the rate of a transfer", () => {
  test("is not told from the first moments", () => {
    expect(rateOf(run([]), 100)).toBeUndefined();
    expect(
      rateOf(
        run([
          [0, 0],
          [300, 50],
        ]),
        100,
      ),
    ).toBeUndefined();
  });

  test("is that of the last seconds: what was slow or fast before is forgotten", () => {
    const slow = Array.from({ length: 31 }, (_, i) => [i * 1000, i * 10] as const);
    const fast = Array.from({ length: 9 }, (_, i) => [31_000 + i * 1000, 300 + i * 1000] as const);
    const rate = rateOf(run([...slow, ...fast]), 10_300);
    expect(rate).toEqual({ bytesPerSecond: 1000, secondsLeft: 2 });
  });

  test("is none while nothing comes, and begins anew where a file does", () => {
    expect(
      rateOf(
        run([
          [0, 70],
          [5000, 70],
        ]),
        100,
      ),
    ).toBeUndefined();
    expect(
      run([
        [0, 0],
        [1000, 90],
        [2000, 10],
      ]),
    ).toEqual([{ timeMs: 2000, bytes: 10 }]);
  });
});

function at(...paths: string[]) {
  return paths.map((path) => ({ path, file: {} as File }));
}

/** The samples after all of these have come. */
function run(points: readonly (readonly [timeMs: number, bytes: number])[]) {
  let samples: readonly RateSample[] = [];
  for (const [timeMs, bytes] of points) samples = addSample(samples, { timeMs, bytes });
  return samples;
}
