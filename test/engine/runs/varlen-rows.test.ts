// Under compat XTuner's check_cfg holds: variable-length attention is for packed rows, one at a time.
import { expect, test } from "vitest";
import { parseConfig } from "../../../src/config/read.ts";
import { refuseVarlenRows } from "../../../src/engine/datasets/data-options.ts";

const check = (options: object) =>
  refuseVarlenRows(parseConfig({ model: "m", data: ["d"], ...options }, "the test"));
const VARLEN = { compat: "xtuner-0.1.17", use_varlen_attn: true };

test("several rows a batch, or rows that are not packed, are refused", () => {
  expect(() => check({ ...VARLEN, batch_size: 2 })).toThrow(
    /batch_size is 2\.\nSet batch_size to 1/,
  );
  expect(() => check({ ...VARLEN, batch_size: 1, pack_to_max_length: false })).toThrow(
    "pack_to_max_length is false",
  );
});

test("one packed row a batch passes, and anything without compat or without varlen", () => {
  expect(() => check({ ...VARLEN, batch_size: 1, pack_to_max_length: true })).not.toThrow();
  const odd = { batch_size: 2, pack_to_max_length: false };
  expect(() => check({ ...odd, use_varlen_attn: true })).not.toThrow();
  expect(() => check({ ...VARLEN, ...odd, use_varlen_attn: false })).not.toThrow();
});
