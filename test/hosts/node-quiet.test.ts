// Of what is written to stderr, two lines of Dawn's are left out, and nothing else is.
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import koffi from "koffi";
import { expect, test } from "vitest";
import { quietly } from "../../src/hosts/node-quiet.ts";
import { temporaryFolder } from "../engine/tiny-folder.ts";

const STDERR = 2;
const libc = koffi.load("libc.so.6");
const dup = libc.func("int dup(int)") as (descriptor: number) => number;
const dup2 = libc.func("int dup2(int, int)") as (from: number, to: number) => number;

/** What `work` writes to stderr, natively or not. */
function stderrOf(work: () => void): string {
  const path = join(temporaryFolder(), "stderr");
  const file = openSync(path, "w");
  const before = dup(STDERR);
  dup2(file, STDERR);
  try {
    work();
  } finally {
    dup2(before, STDERR);
    closeSync(before);
    closeSync(file);
  }
  return readFileSync(path, "utf8");
}

const LIMITS = ["Uniform", "Storage"]
  .map(
    (kind) =>
      `Warning: maxDynamic${kind}BuffersPerPipelineLayout artificially reduced from 1000000 to 16 to fit dynamic offset allocation limit.\n`,
  )
  .join("");

test("lines about limits that Dawn lowers are left out, and all others are there", () => {
  let found = 0;
  const said = stderrOf(() => {
    found = quietly(() => {
      writeSync(STDERR, `Warning: a driver is old.\n${LIMITS}Error: no memory: größer\n`);
      return 7;
    });
    writeSync(STDERR, "after\n");
  });
  expect(found).toBe(7);
  expect(said).toBe("Warning: a driver is old.\nError: no memory: größer\nafter\n");
});

test("what was written before a failure is told", () => {
  const said = stderrOf(() => {
    expect(() => quietly(fail)).toThrow("failed");
  });
  expect(said).toBe("why it failed\n");
});

function fail(): never {
  writeSync(STDERR, `${LIMITS}why it failed\n`);
  throw new Error("failed");
}
