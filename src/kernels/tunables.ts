// All kernels with variants that are found by trying. Risky ones (subgroup matrices) stand last among a
// kernel's own candidates, and what a run needs most stands first here: a budget may end the trying.
import type { Tunable } from "./tunable.ts";

export const TUNABLES: readonly Tunable[] = [];
