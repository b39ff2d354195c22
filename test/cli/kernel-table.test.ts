// hone doctor's table of kernel variants.
import { expect, test } from "vitest";
import { formatKernelTable, formatTriedLine } from "../../src/cli/kernel-table.ts";
import type { KernelTable } from "../../src/engine.ts";

const sizes = {
  hidden: 2048,
  intermediate: 8192,
  heads: 32,
  kvHeads: 8,
  headSize: 64,
  rank: 16,
  tokens: 2048,
  act: "f16",
} as const;

const table: KernelTable = {
  adapterName: "a GPU",
  kernels: "0123456789abcdef",
  why: undefined,
  slots: [
    { slot: "matmul.f16.forward", names: ["direct", "tile", "matrix", "late"], untried: "direct" },
    { slot: "lora", names: ["direct", "lanes"], untried: "lanes" },
  ],
  tried: [
    {
      sizes,
      slots: [
        {
          slot: "matmul.f16.forward",
          variants: [
            { name: "direct", seconds: 0.0042 },
            { name: "tile", seconds: 0.0014 },
            { name: "matrix", fault: { kind: "wrong", words: "its results are wrong" } },
            { name: "late" },
          ],
          chosen: "tile",
        },
        {
          slot: "lora",
          variants: [
            { name: "direct", seconds: 2 },
            { name: "lanes", seconds: 4 },
          ],
          chosen: "direct",
        },
      ],
      unended: [],
    },
  ],
};

test("for each kernel its variants, the one in use, and why others are not", () => {
  expect(formatKernelTable(table)).toEqual([
    "Kernel variants: 2 kernels have several on this adapter.",
    "",
    "2048 × 8192, 32 heads (8 for keys) of 64, LoRA of rank 16, 2,048 tokens, f16:",
    "  matmul.f16.forward   direct  4.20 ms  1.00×",
    "                     ▸ tile    1.40 ms  3.00×",
    "                       matrix                  dropped: its results are wrong",
    "                       late                    not tried: the time was up",
    "  lora               ▸ direct   2.00 s  1.00×",
    "                       lanes    4.00 s  0.50×",
  ]);
});

/** Of a table with nothing tried. */
const lines = (change: Partial<KernelTable>) =>
  formatKernelTable({ ...table, tried: [], ...change });

test("why nothing was tried", () => {
  expect(lines({}).join("\n")).toMatch(
    /None was tried yet.*\n  matmul\.f16\.forward  direct, and 3 .*\n  lora {16}lanes, and 1/s,
  );
  expect(lines({ why: "software" }).join("\n")).toContain("On software");
  expect(lines({ why: "off" }).join("\n")).toContain("--tune off");
  expect(lines({ slots: [] })).toHaveLength(1);
  for (const why of ["off", "software", undefined] as const) {
    expect(lines({ why }).filter((line) => line.length > 80)).toEqual([]);
  }
});

test("of a trial that did not end there is no table, but a line", () => {
  const ended = table.tried.map((tried) => ({ ...tried, unended: ["nf4.gemv"] }));
  expect(formatKernelTable({ ...table, tried: ended }).at(-1)).toBe(
    "  nf4.gemv: its trial did not end",
  );
  const broken = lines({ tried: [{ sizes, slots: [], unended: ["lora"] }] });
  expect(broken).toEqual([...lines({}), "  lora: its trial did not end"]);
});

test("in a log, what came of each kernel", () => {
  const [products, lora] = table.tried[0]?.slots ?? [];
  expect(products && formatTriedLine(1, 2, products)).toBe(
    "1/2 matmul.f16.forward: tile, 3.00× direct",
  );
  expect(lora && formatTriedLine(2, 2, lora)).toBe("2/2 lora: direct, compared with 1 of 1 others");
});
