// Whether a run can be resumed under another length: where the steps that are done are steps of that length too.
import { UserError } from "../../base/error.ts";
import { ALL_OPTIONS, type TrainConfig } from "../../config.ts";
import { planSteps, type StepPlan } from "../../train/plan.ts";
import type { CheckpointState } from "../../train/checkpoint.ts";

/** Options that say how long a run is, and by that alone what its steps are. */
export const LENGTH_OPTIONS = ["max_steps", "max_epochs"] as const satisfies (keyof TrainConfig)[];

/**
 * Refuses to go on with a run under another length where its steps so far would have been others: under most
 * schedules the length sets the learning rate of each. `place` names the checkpoint.
 */
export function refuseOtherLength(
  config: TrainConfig,
  plan: StepPlan,
  { run, step }: Pick<CheckpointState, "run" | "step">,
  place: string,
): void {
  const changed = LENGTH_OPTIONS.map((name) => ({ name, old: lengthOf(run, name) })).filter(
    ({ name, old }) => old !== config[name],
  );
  if (changed.length === 0) return;
  const began = Object.fromEntries(changed.map(({ name, old }) => [name, old]));
  const then = planSteps({ ...config, ...began }, plan.batchesPerEpoch);
  const reason = differenceOf(then, plan, step, config);
  if (reason === undefined) return;
  const words = changed.map(({ name, old }) => `${name} was ${old} and is ${config[name]}`);
  const back = changed.map(({ name, old }) => `${name}: ${old}`).join(" and ");
  throw new UserError(
    `${place} belongs to a run of another length (${words.join("; ")}): ${reason}.`,
    `To train on from it, start a new run in another folder with load_from: ${place} and a schedule of its own, or resume with ${back}.`,
  );
}

/** Why the first `done` units of one plan are not those of the other; undefined if they are. */
function differenceOf(
  then: StepPlan,
  now: StepPlan,
  done: number,
  { lr_scheduler, warmup_ratio }: TrainConfig,
): string | undefined {
  if (done > now.steps) return `${done} ${now.unit}s are done, and it would end after ${now.steps}`;
  const units = Array.from({ length: done }, (_, unit) => unit);
  if (units.some((unit) => then.learningRate(unit) !== now.learningRate(unit))) {
    return `the ${done} ${now.unit}s that are done would have had other learning rates, which depend on the length under lr_scheduler ${lr_scheduler} with warmup_ratio ${warmup_ratio}`;
  }
  const isSame = (unit: number) =>
    then.updatesIn(unit) === now.updatesIn(unit) &&
    then.lossWeight(unit, 1) === now.lossWeight(unit, 1) &&
    then.microBatchesOf(unit).length === now.microBatchesOf(unit).length;
  return units.every(isSame)
    ? undefined
    : `the last optimizer step was taken over fewer passes than accumulative_counts, since the data had ended`;
}

function lengthOf(run: CheckpointState["run"], name: (typeof LENGTH_OPTIONS)[number]): number {
  const known = run[name];
  if (typeof known === "number") return known;
  return Number(ALL_OPTIONS.find(({ path }) => path === name)?.option.default);
}
