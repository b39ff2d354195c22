// Looks tokens up in the embedding table.
import embedShader from "../../shaders/embed.wgsl?raw";
import grid from "../../shaders/lib/grid.wgsl?raw";
import bf16Rows from "../../shaders/lib/row-bf16.wgsl?raw";
import f16Rows from "../../shaders/lib/row-f16.wgsl?raw";
import f32Rows from "../../shaders/lib/row-f32.wgsl?raw";
import { invariant } from "../base/error.ts";
import { foldGrid, type Shader, workgroups } from "../gpu/kernel.ts";
import type { Recorder } from "../gpu/program.ts";
import { elementCount, matrixShape, requireShape, type Tensor } from "../gpu/tensor.ts";

const THREADS = 64;

/** How a table's numbers are stored: f32, or pairs in a u32 with the even element in the low half. */
export type TableEncoding = "f32" | "f16" | "bf16";

const shaders = {
  f32: embedShaderFor("f32", f32Rows),
  f16: embedShaderFor("f16", f16Rows),
  bf16: embedShaderFor("bf16", bf16Rows),
} as const;

function embedShaderFor(encoding: TableEncoding, rows: string) {
  return {
    label: `embed.${encoding}`,
    source: [grid, rows, embedShader],
    bindings: { ids: "read", table: "read", y: "read_write" },
    params: { tokens: "u32", quads: "u32", first_row: "u32", rows: "u32", scale: "f32" },
  } as const satisfies Shader<string, string>;
}

/**
 * y = scale · table[ids], for the ids that lie in this shard of the table; other rows of y are left as
 * they are.
 *
 *   ids    u32            [tokens]
 *   table  f32, or u32    [rows, hidden], or [rows, hidden / 2] of packed pairs
 *   y      f32            [tokens, hidden], hidden a multiple of 4
 *
 * `firstRow` is the id of the table's first row. A sharded table takes one call per shard, after which
 * every row of y is written once.
 */
export function embed(
  recorder: Recorder,
  {
    ids,
    table,
    encoding,
    y,
    firstRow = 0,
    scale = 1,
  }: {
    ids: Tensor;
    table: Tensor;
    encoding: TableEncoding;
    y: Tensor;
    firstRow?: number;
    scale?: number;
  },
): void {
  const [tokens, hidden] = matrixShape(y);
  invariant(hidden % 4 === 0, () => `embed: ${y.label} has ${hidden} columns, no multiple of 4`);
  const columns = encoding === "f32" ? hidden : hidden / 2;
  const rows = elementCount(table.shape) / columns;
  requireShape("embed", y, "f32", [tokens, hidden], y);
  requireShape("embed", ids, "u32", [1, tokens], y);
  requireShape("embed", table, encoding === "f32" ? "f32" : "u32", [rows, columns], y);

  const quads = hidden / 4;
  recorder.dispatch(shaders[encoding], {
    entry: "forward",
    buffers: { ids, table, y },
    params: { tokens, quads, first_row: firstRow, rows, scale },
    grid: foldGrid(workgroups(tokens * quads, THREADS)),
    // One row of the table a token, not the table.
    bytes: ids.bytes + y.bytes + tokens * columns * 4,
  });
}
