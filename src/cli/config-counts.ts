// An XTuner config counts iterations. With compat switched off a run counts optimizer steps, so that the file's
// numbers mean others.
import type { TrainConfig } from "../config.ts";
import type { ConfigNote } from "../xtuner/read-xtuner-config.ts";

const COUNTS = ["max_steps", "save_steps", "evaluation_freq", "logging_steps"] as const;

/**
 * The config with the file's counts of iterations as optimizer steps, at least 1, and a note of them. Counts that
 * `set` names are steps as they were given; 0 is off and stays so.
 */
export function iterationsToSteps(
  config: TrainConfig,
  set: readonly string[],
): { readonly config: TrainConfig; readonly notes: readonly ConfigNote[] } {
  const { accumulative_counts: group, compat } = config;
  if (compat !== "none" || group === 1) return { config, notes: [] };
  const given = new Set(set.map((setting) => setting.split("=", 1)[0]?.trim()));
  const changed = COUNTS.filter((name) => config[name] > 0 && !given.has(name));
  if (changed.length === 0) return { config, notes: [] };
  const steps = changed.map((name) => [name, stepsOf(config[name], group)] as const);
  const words = steps.map(([name, count]) => `${name} ${config[name]} → ${count}`).join(", ");
  const text = `Without compat a run counts optimizer steps, of ${group} iterations each (accumulative_counts): ${words}. Use --set to choose others.`;
  return {
    config: { ...config, ...Object.fromEntries(steps) },
    notes: [{ severity: "info", text }],
  };
}

function stepsOf(iterations: number, group: number): number {
  return Math.max(1, Math.round(iterations / group));
}
