import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { freeNvidiaMemory } from "../../src/hosts/node-nvidia.ts";

const MEBIBYTE = 2 ** 20;

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hone-nvidia-"));
  vi.stubEnv("PATH", `${folder}:/usr/bin:/bin`);
});

afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

/** Puts a program in the place of the driver's: it prints this, and ends as it is told. */
function install(lines: readonly string[], code = 0): void {
  const file = join(folder, "nvidia-smi");
  // The real one refuses a query it does not know.
  const known = `[ "$*" = "--query-gpu=name,memory.free --format=csv,noheader,nounits" ] || exit 2`;
  const prints = lines.map((line) => `echo '${line}'`);
  writeFileSync(file, ["#!/bin/sh", known, ...prints, `exit ${code}`].join("\n"));
  chmodSync(file, 0o755);
}

/** As Dawn tells of it. */
function adapter(device: string, vendor = "nvidia") {
  return { vendor, device };
}

test("it is what the driver's program says of the GPU by the adapter's name", () => {
  install(["NVIDIA L4, 1500", "NVIDIA L40S, 80994", "NVIDIA L40, 700"]);
  const bytes = 80_994 * MEBIBYTE;
  expect(freeNvidiaMemory(adapter("NVIDIA L40S"))).toEqual({ least: bytes, most: bytes });
});

test("of several GPUs by that name it is any", () => {
  install(["NVIDIA L4, 22000", "NVIDIA L4, 9000", "NVIDIA L4, 15000"]);
  const [least, most] = [9000 * MEBIBYTE, 22_000 * MEBIBYTE];
  expect(freeNvidiaMemory(adapter("NVIDIA L4"))).toEqual({ least, most });
});

test("on Windows, which makes room, nobody knows the most", () => {
  install(["NVIDIA L4, 9000"]);
  const free = freeNvidiaMemory(adapter("NVIDIA L4"), "win32");
  expect(free).toEqual({ least: 9000 * MEBIBYTE, most: Number.POSITIVE_INFINITY });
});

test("nothing is known of another GPU, of another maker's, or where the program fails, tells nothing or is not there", () => {
  const gpu = adapter("NVIDIA H100 80GB HBM3");
  expect(freeNvidiaMemory(gpu)).toBeUndefined();
  install(["NVIDIA L4, 22000"]);
  expect(freeNvidiaMemory(gpu)).toBeUndefined();
  expect(freeNvidiaMemory(adapter("NVIDIA L4", "amd"))).toBeUndefined();
  install(["NVIDIA H100 80GB HBM3, [N/A]"]);
  expect(freeNvidiaMemory(gpu)).toBeUndefined();
  install(["NVIDIA H100 80GB HBM3, 80994"], 9);
  expect(freeNvidiaMemory(gpu)).toBeUndefined();
});
