// A ready-made config that is not there: what is nearest, and how the names are found.
import { expect, test } from "vitest";
import { findConfig } from "../../src/cli/config-zoo.ts";

test("a name of XTuner's for all weights is told the adapter's", () => {
  expect(() => findConfig("internlm2_1_8b_full_alpaca_e3")).toThrow(
    'There is no ready-made config "internlm2_1_8b_full_alpaca_e3": Hone trains adapters, not all weights.\nThe nearest is internlm2_1_8b_qlora_alpaca_e3; hone list-cfg -p TEXT lists',
  );
});

test("a mistyped name is told the nearest", () => {
  expect(() => findConfig("internlm2_1_8b_qlora_alpaca_e33")).toThrow(
    'There is no ready-made config "internlm2_1_8b_qlora_alpaca_e33".\nThe nearest is internlm2_1_8b_qlora_alpaca_e3; hone list-cfg -p TEXT lists',
  );
  expect(() => findConfig("?")).toThrow("Run hone list-cfg to see what");
});
