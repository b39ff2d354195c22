// Keeps two lines of Dawn's out of the terminal that mean nothing to whoever reads them.
//
// Where a Vulkan driver allows more dynamic buffers than Dawn counts, as Mesa's do, Dawn says so on file
// descriptor 2 by itself, as it looks for adapters (webgpu 0.6.2). This file can go when it no longer does.
import { closeSync, fstatSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import koffi from "koffi";

const MEANINGLESS =
  /^Warning: maxDynamic(?:Uniform|Storage)BuffersPerPipelineLayout artificially reduced from \d+ to \d+ .*\n/gm;

const STDERR = 2;

/** Calls `look`, which must not wait for anything. What it writes to stderr comes after it, without those lines. */
export function quietly<T>(look: () => T): T {
  const place = process.platform === "linux" ? findPlace() : undefined;
  if (!place) return look();
  const { dup2, kept, before } = place;
  dup2(kept, STDERR);
  try {
    return look();
  } finally {
    dup2(before, STDERR);
    closeSync(before);
    const said = Buffer.alloc(fstatSync(kept).size);
    readSync(kept, said, 0, said.length, 0);
    closeSync(kept);
    const rest = said.toString().replaceAll(MEANINGLESS, "");
    if (rest !== "") writeSync(STDERR, rest);
  }
}

interface Place {
  /** Makes `to` mean what `from` does, at once: nothing else can open a file as `to` in between. */
  readonly dup2: (from: number, to: number) => number;
  /** Where lines are kept meanwhile. */
  readonly kept: number;
  /** Another descriptor of what stderr is. */
  readonly before: number;
}

/** Undefined where the C library has another name, or nothing can be written. */
function findPlace(): Place | undefined {
  try {
    const libc = koffi.load("libc.so.6");
    const dup = libc.func("int dup(int)") as (descriptor: number) => number;
    const dup2 = libc.func("int dup2(int, int)") as Place["dup2"];
    const kept = openNameless();
    const before = dup(STDERR);
    if (before >= 0) return { dup2, kept, before };
    closeSync(kept); // there is no stderr
  } catch {
    // Then the lines are seen.
  }
  return undefined;
}

/** A file that is gone when it is closed. */
function openNameless(): number {
  const folder = mkdtempSync(join(tmpdir(), "hone-stderr-"));
  try {
    return openSync(join(folder, "lines"), "wx+", 0o600);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
