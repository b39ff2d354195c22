// All kernels with variants that are found by trying. Risky ones (subgroup matrices) stand last among a
// kernel's own candidates, and what a run needs most stands first here: a budget may end the trying. A kernel in
// whose work others take part stands after them.
import { ATTENTION_TUNABLES } from "./attention-tunables.ts";
import {
  ATTENTION_DECODE_TUNABLE,
  ATTENTION_PREFILL_TUNABLES,
} from "./attention-cached-tunables.ts";
import { DEQUANTIZE_TUNABLE } from "./dequantize.ts";
import { GEMV_TUNABLE } from "./gemv.ts";
import { LORA_TUNABLE } from "./lora.ts";
import { MATMUL_TUNABLES } from "./matmul-tunables.ts";
import { NF4_GEMV_TUNABLE } from "./nf4-gemv.ts";
import type { Tunable } from "./tunable.ts";

export const TUNABLES: readonly Tunable[] = [
  ...MATMUL_TUNABLES,
  ...ATTENTION_TUNABLES,
  NF4_GEMV_TUNABLE,
  GEMV_TUNABLE,
  ATTENTION_DECODE_TUNABLE,
  ...ATTENTION_PREFILL_TUNABLES,
  DEQUANTIZE_TUNABLE,
  LORA_TUNABLE,
];
