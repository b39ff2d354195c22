// What is kept of the forward pass is a matter of memory and time: the numbers are the same to the bit.
import { expect, test } from "vitest";
import { countKeepings, describeKeeping, keepingAt, repeats } from "../../src/model/keeping.ts";
import { testGpu } from "../gpu.ts";
import { loadFamily, readFamily } from "./family-models.ts";
import { trainOnce } from "./train-once.ts";

const gpu = await testGpu();

// Gemma 3 norms heads, and what attention and feed-forward hand on: all there is to keep, it has.
test.each(["gemma3", "qwen2"])("%s: loss and gradients, whatever is kept", async (name) => {
  const fixture = readFamily(name);
  const { batch } = fixture;
  const model = await loadFamily(gpu, fixture, { quantization: "nf4", positions: batch.tokens });
  const { layers } = model.architecture;
  const all = await trainOnce(model, batch, false, 1);
  expect(all.loss).toBeGreaterThan(0);
  const last = countKeepings(layers) - 1;
  for (const index of [0, 1, 2, 3, layers + 3, 2 * layers + 3, 3 * layers + 2, last - 1, last]) {
    expect(await trainOnce(model, batch, keepingAt(index, layers), 1), `${index}`).toEqual(all);
  }
  expect(await trainOnce(model, batch, true, 1)).toEqual(all);
});

test("ways of keeping grow by a part at a time, of the top layer first", () => {
  const ways = Array.from({ length: countKeepings(3) }, (_, index) => keepingAt(index, 3));
  const none = { parts: [0, 0, 0], lowRank: false, expandedWeights: false };
  expect(ways[0]).toEqual(none);
  expect(ways[1]).toEqual({ ...none, lowRank: true });
  expect(ways[2]).toEqual({ ...none, lowRank: true, expandedWeights: true });
  expect(ways[3]).toEqual({ ...ways[2], parts: [0, 0, 1] });
  expect(ways[7]!.parts).toEqual([1, 2, 2]);
  ways.slice(3).forEach(({ parts }, i) => {
    const grown = parts.map((kept, layer) => kept - ways[i + 2]!.parts[layer]!);
    expect(grown.toSorted((a, b) => a - b)).toEqual([0, 0, 1]);
  });
  expect(ways.map(repeats)).toEqual(ways.map((_, i) => i < ways.length - 1));
});

/** What is kept of three layers at an index. */
function words(index: number): string {
  return describeKeeping(keepingAt(index, 3), 3);
}

test("what is kept is told in words", () => {
  expect(describeKeeping(true, 3)).toBe("the input of every layer");
  expect(words(1)).toBe("the input of every layer, the adapter's h");
  expect(words(7)).toBe(
    "the input of every layer, the adapter's h, expanded weights of one layer, " +
      "attended and logSumExp of 3 layers, qkv and rawQkv of 2 layers",
  );
  expect(words(countKeepings(3) - 1)).toBe("everything");
});
