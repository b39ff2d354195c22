// What makes a run the run it is: what must be the same when a part of it is resumed.
import { UserError } from "../../base/error.ts";
import { ALL_OPTIONS, type TrainConfig } from "../../config.ts";
import type { FunnelReport } from "../../data/funnel.ts";
import { isJsonObject } from "../../formats/json.ts";
import type { CheckpointState } from "../../train/checkpoint.ts";
import type { Fingerprints } from "./fingerprint.ts";
import { LENGTH_OPTIONS } from "./run-length.ts";

// Options that may differ between the parts of a run without changing a number of it. Model and data may
// have moved; that they are the same is seen from their fingerprints.
const FREE_OPTIONS = new Set([
  "model",
  "data",
  "work_dir",
  "save_steps",
  "save_total_limit",
  "logging_steps",
  "evaluation_freq",
  "evaluation_inputs",
  "evaluation_max_new_tokens",
  "evaluation_system",
  "test_data",
  "gradient_checkpointing",
  "max_memory",
  "compute_dtype",
]);

/** What it means that a fingerprint is another one. */
const CHANGED: Readonly<Record<keyof Fingerprints, string>> = {
  weights: "other weights: the model's are not those that the run began with",
  config: "another config.json of the model than the run began with",
  data: "other data: as many rows and tokens, but not the same",
};

/** Judged by themselves, when it is known how long an epoch is. */
const LENGTHS: ReadonlySet<string> = new Set(LENGTH_OPTIONS);

/** "lora" in "lora.r". */
const SECTIONS: ReadonlySet<string> = new Set(
  ALL_OPTIONS.flatMap(({ path }) => (path.includes(".") ? [path.split(".", 1)[0] ?? path] : [])),
);

type Identity = Readonly<Record<string, unknown>>;

/** The options that the numbers depend on, how much data there is, and the fingerprints of model and data. */
export function identityOf(
  config: TrainConfig,
  data: Pick<FunnelReport, "rowsRead" | "tokens" | "labelTokens">,
  fingerprints: Fingerprints,
): Record<string, unknown> {
  const { rowsRead, tokens, labelTokens } = data;
  const options = Object.entries(config).filter(([key]) => !FREE_OPTIONS.has(key));
  const counts = { rows: rowsRead, tokens, labelTokens };
  return { ...Object.fromEntries(options), data: counts, fingerprints };
}

/** Refuses to go on with a run under other options (but for its length) or on other data. `place` names its checkpoint. */
export function refuseChangedRun(
  { fingerprints: nowPrints, ...nowOptions }: Identity,
  { run: { fingerprints: thenPrints, ...thenOptions } }: Pick<CheckpointState, "run">,
  place: string,
): void {
  const [now, then] = [withDefaults(nowOptions), withDefaults(thenOptions)];
  const options = [...new Set([...Object.keys(now), ...Object.keys(then)])]
    .filter((key) => !LENGTHS.has(key))
    .filter((key) => JSON.stringify(now[key]) !== JSON.stringify(then[key]))
    .map((key) => `${key} was ${wordOf(then[key])} and is ${wordOf(now[key])}`);
  const prints = changedPrints(nowPrints, thenPrints)
    // The same data are other tokens under other options, which are to be told then.
    .filter((key) => key !== "data" || options.length === 0)
    .map((key) => CHANGED[key]);
  const list = [...options, ...prints];
  if (list.length === 0) return;
  throw new UserError(
    `${place} belongs to a run with other options, weights or data: ${list.join("; ")}.`,
    "Resume with the config.yaml in the work directory and the same model and data, or start a new run in another folder.",
  );
}

/** By path; an option that a checkpoint does not know is one that it was made without: the default. */
function withDefaults(identity: Identity): Identity {
  const known = Object.entries(identity).flatMap(([key, value]) =>
    SECTIONS.has(key) && isJsonObject(value)
      ? Object.entries(value).map(([inner, leaf]) => [`${key}.${inner}`, leaf])
      : [[key, value]],
  );
  const defaults = ALL_OPTIONS.map(({ path, option }) => [path, option.default]);
  return Object.fromEntries([...defaults, ...known]) as Identity;
}

/** Checkpoints of before there were fingerprints have none, and are believed. */
function changedPrints(now: unknown, then: unknown): (keyof Fingerprints)[] {
  if (!isJsonObject(now) || !isJsonObject(then)) return [];
  const keys = ["weights", "config", "data"] as const;
  return keys.filter((key) => then[key] !== undefined && then[key] !== now[key]);
}

function wordOf(value: unknown): string {
  return value === undefined ? "not set" : JSON.stringify(value);
}
