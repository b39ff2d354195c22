import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { freeNvidiaBytes } from "../../src/hosts/node-nvidia.ts";

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
  return { vendor, device, description: `${device} (vulkan driver 570.86)` };
}

test("it is what the driver's program says of the GPU by the adapter's name", () => {
  install(["NVIDIA GeForce GT 1030, 1500", "NVIDIA H100 80GB HBM3, 80994"]);
  expect(freeNvidiaBytes(adapter("NVIDIA H100 80GB HBM3"))).toBe(80_994 * MEBIBYTE);
});

test("of several GPUs by that name it is the least", () => {
  install(["NVIDIA L4, 22000", "NVIDIA L4, 9000", "NVIDIA L4, 15000"]);
  expect(freeNvidiaBytes(adapter("NVIDIA L4"))).toBe(9000 * MEBIBYTE);
});

test("nothing is known of another GPU, of another maker's, or where the program fails, tells nothing or is not there", () => {
  const gpu = adapter("NVIDIA H100 80GB HBM3");
  expect(freeNvidiaBytes(gpu)).toBeUndefined();
  install(["NVIDIA L4, 22000"]);
  expect(freeNvidiaBytes(gpu)).toBeUndefined();
  expect(freeNvidiaBytes(adapter("NVIDIA L4", "amd"))).toBeUndefined();
  install(["NVIDIA H100 80GB HBM3, [N/A]"]);
  expect(freeNvidiaBytes(gpu)).toBeUndefined();
  install(["NVIDIA H100 80GB HBM3, 80994"], 9);
  expect(freeNvidiaBytes(gpu)).toBeUndefined();
});
