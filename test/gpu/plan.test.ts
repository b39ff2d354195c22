import { array, assert, integer, nat, property, record } from "fast-check";
import { expect, test } from "vitest";
import { type Lifetime, planMemory } from "../../src/gpu/plan.ts";
import { Workspace } from "../../src/gpu/workspace.ts";
import { nullGpu } from "../gpu.ts";

const lifetime = record({
  bytes: integer({ min: 1, max: 1000 }),
  first: nat({ max: 30 }),
  length: nat({ max: 12 }),
}).map(({ bytes, first, length }): Lifetime => ({ bytes, first, last: first + length }));
const lifetimes = array(lifetime, { maxLength: 40 });

// Both ends count: a dispatch may not read and write one buffer.
const areLiveTogether = (a: Lifetime, b: Lifetime) => a.first <= b.last && b.first <= a.last;

test("no two tensors that are live together share a slot", () => {
  assert(
    property(lifetimes, (all) => {
      const { slots } = planMemory(all);
      const clashes = all.flatMap((a, i) =>
        all.filter((b, j) => j < i && slots[i] === slots[j] && areLiveTogether(a, b)),
      );
      expect(clashes).toEqual([]);
    }),
  );
});

test("every tensor fits its slot, and no slot is larger than its largest tensor", () => {
  assert(
    property(lifetimes, (all) => {
      const { slots, slotBytes } = planMemory(all);
      expect(slots).toHaveLength(all.length);
      slotBytes.forEach((size, slot) => {
        const sizes = all.filter((_, i) => slots[i] === slot).map(({ bytes }) => bytes);
        expect(size).toBe(Math.max(...sizes));
      });
    }),
  );
});

test("the slots take no more than all tensors together, and no less than the fullest moment", () => {
  assert(
    property(lifetimes, (all) => {
      const taken = sum(planMemory(all).slotBytes);
      expect(taken).toBeLessThanOrEqual(sum(all.map(({ bytes }) => bytes)));
      for (let moment = 0; moment <= 42; moment++) {
        const live = all.filter(({ first, last }) => first <= moment && moment <= last);
        expect(taken).toBeGreaterThanOrEqual(sum(live.map(({ bytes }) => bytes)));
      }
    }),
  );
});

test("a chain of equal tensors, each read by the next dispatch only, takes two slots", () => {
  const chain = Array.from({ length: 9 }, (_, i) => ({ bytes: 64, first: i, last: i + 1 }));
  expect(planMemory(chain).slotBytes).toEqual([64, 64]);
});

test("a tensor takes the tightest slot that is free for all of its life", () => {
  const early = [100, 300, 200].map((bytes) => ({ bytes, first: 0, last: 1 }));
  const tight = planMemory([...early, { bytes: 150, first: 2, last: 2 }]);
  expect(tight.slots[3]).toBe(tight.slots[2]);
  // Free at its first use, but not until its last.
  const busy = { bytes: 190, first: 4, last: 4 };
  const blocked = planMemory([...early, busy, { bytes: 150, first: 2, last: 4 }]);
  expect(blocked.slots[3]).toBe(blocked.slots[2]);
  expect(blocked.slots[4]).toBe(blocked.slots[1]);
});

test("what is kept long does not settle where a scratch tensor of every layer goes", () => {
  const layers = Array.from({ length: 12 }, (_, layer) => [
    { bytes: 1000, first: 2 * layer, last: 2 * layer },
    { bytes: 10, first: 2 * layer, last: 24 },
  ]).flat();
  // The fullest moment is the last layer's: its scratch and all that is kept.
  expect(sum(planMemory(layers).slotBytes)).toBe(1000 + 12 * 10);
});

test("a workspace hands out different buffers, large enough, and the same ones to the next program", async () => {
  const gpu = await nullGpu();
  const workspace = new Workspace(gpu);
  const first = workspace.take([64, 256, 128]);
  expect(new Set(first).size).toBe(3);
  expect(first.map(({ size }) => size)).toEqual([64, 256, 128]);
  const second = workspace.take([100, 16]);
  expect(second).toEqual([first[2], first[0]]);
  const third = workspace.take([512, 200]);
  expect(third[1]).toBe(first[1]);
  expect(workspace.bytes).toBe(64 + 256 + 128 + 512);
  workspace.free();
  expect(workspace.bytes).toBe(0);
  expect(gpu.allocatedBytes).toBe(0);
});

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
