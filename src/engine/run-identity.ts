// What makes a run the run it is: what must be the same when a part of it is resumed.
import { UserError } from "../base/error.ts";
import type { TrainConfig } from "../config.ts";
import type { FunnelReport } from "../data/funnel.ts";
import type { CheckpointState } from "../train/checkpoint.ts";

// Options that may differ between the parts of a run without changing a number of it. The data may have
// moved; that they are the same is seen from their counts.
const FREE_OPTIONS = new Set([
  "model",
  "data",
  "work_dir",
  "save_steps",
  "save_total_limit",
  "logging_steps",
  "evaluation_freq",
  "evaluation_inputs",
  "gradient_checkpointing",
  "max_memory",
  "compute_dtype",
]);

/**
 * The options that the numbers depend on, and how much data there is. Without load_from where it is empty:
 * checkpoints of before it was an option have none.
 */
export function identityOf(
  config: TrainConfig,
  data: Pick<FunnelReport, "rowsRead" | "tokens" | "labelTokens">,
): Record<string, unknown> {
  const { rowsRead, tokens, labelTokens } = data;
  const options = Object.entries(config).filter(
    ([key, value]) => !FREE_OPTIONS.has(key) && !(key === "load_from" && value === ""),
  );
  return { ...Object.fromEntries(options), data: { rows: rowsRead, tokens, labelTokens } };
}

/** Refuses to go on with a run under other options or on other data. `place` names its checkpoint. */
export function refuseChangedRun(
  now: Readonly<Record<string, unknown>>,
  { run }: CheckpointState,
  place: string,
): void {
  const changed = [...new Set([...Object.keys(now), ...Object.keys(run)])].filter(
    (key) => JSON.stringify(now[key]) !== JSON.stringify(run[key]),
  );
  if (changed.length === 0) return;
  const list = changed.map((key) => `${key} was ${wordOf(run[key])} and is ${wordOf(now[key])}`);
  throw new UserError(
    `${place} belongs to a run with other options or data: ${list.join("; ")}.`,
    "Resume with the config.yaml in the work directory and the same data, or start a new run in another folder.",
  );
}

function wordOf(value: unknown): string {
  return value === undefined ? "not set" : JSON.stringify(value);
}
