// In which options several recipes differ, and how each says it.
import { valuesOf } from "../config/values.ts";
import { ALL_OPTIONS, type TrainConfig } from "../config.ts";
import { SET_BY_THE_PAGE } from "./recipe.ts";

export interface ConfigDifference {
  /** "lora.r" */
  readonly path: string;
  /** One text for each recipe, in their order. */
  readonly values: readonly string[];
}

/**
 * Options whose values are not the same in all of `configs`, in the table's order. Model and data are left
 * out: a run's record says them by name.
 */
export function configDifferences(configs: readonly TrainConfig[]): ConfigDifference[] {
  const all = configs.map(valuesOf);
  return ALL_OPTIONS.filter(({ path }) => !SET_BY_THE_PAGE.has(path))
    .map(({ path }) => ({ path, values: all.map((values) => showValue(values.get(path))) }))
    .filter(({ values }) => new Set(values).size > 1);
}

/** As YAML has it on one line: an empty text and an empty list are seen. */
function showValue(value: unknown): string {
  return value === "" || Array.isArray(value) ? JSON.stringify(value) : String(value);
}
