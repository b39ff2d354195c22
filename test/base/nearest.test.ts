import { expect, test } from "vitest";
import { nearestName } from "../../src/base/nearest.ts";

const KNOWN = ["lr", "lr_scheduler", "max_length", "max_norm", "seed"];

test.each([
  ["max_lenght", "max_length"], // two letters exchanged
  ["maxlength", "max_length"],
  ["sed", "seed"],
  ["SEED", "seed"], // case is no distance
  ["lrr", "lr"],
])("%s is nearest to %s", (name, nearest) => {
  expect(nearestName(name, KNOWN)).toBe(nearest);
});

test.each(["optimizer", "zzzz", "packing"])("%s is near to nothing known", (name) => {
  expect(nearestName(name, KNOWN)).toBeUndefined();
});
