// The recipe of the next run: a preset, and what was changed of it.
//
// What was changed is kept by path, and nothing else is: the preset follows the model and the data.
import { createEffect, createSignal, on } from "solid-js";
import { PRESET_PATHS, type PresetName, PRESETS } from "../config/presets.ts";
import { type ChangedValue, changedValues, type ConfigValues, valuesOf } from "../config/values.ts";
import { ALL_OPTIONS } from "../config.ts";
import type { ConfigChoice, ReadConfig, TrainConfig } from "../services/api.ts";
import {
  commandOf,
  completeConfig,
  factsOf,
  presetValues,
  SET_BY_THE_PAGE,
  suggestQuestions,
} from "./recipe.ts";
import { createPlan, type Plan } from "./session-plan.ts";
import type { SliceContext } from "./session.ts";
import { readSetting, writeSetting } from "./settings.ts";

export interface RecipeSlice {
  /** The whole config, with the chosen model's and data sets' names in it. */
  readonly config: () => TrainConfig;
  readonly preset: () => PresetName;
  /** All values that a preset means for the chosen model and data. */
  valuesOfPreset(preset: PresetName): ConfigValues;
  /** Takes a preset's settings; what it does not set stays as it was changed. */
  choosePreset(preset: PresetName): void;
  /** A preset as it is, and nothing changed of it. */
  begin(preset: PresetName): void;
  /** Takes an option's value by path: "lora.r". One that it does not take is in `problems`, by path. */
  set(path: string, value: unknown): void;
  /** Back to the preset's value. */
  reset(path: string): void;
  /** Values that their options do not take, by path; the config has the last ones that they took. */
  readonly problems: () => ReadonlyMap<string, unknown>;
  /** What differs from the preset. */
  readonly differences: () => readonly ChangedValue[];
  /** Replaces the whole recipe: a loaded file's, an earlier run's. */
  load(config: TrainConfig): void;
  /**
   * Loads a config's text, YAML or XTuner's Python, and resolves to what its reader should know. Throws a
   * UserError with each problem and its line.
   */
  loadText(text: string, place: string): Promise<ReadConfig["notes"]>;
  /** Loads a ready-made config. */
  loadReady(name: string): Promise<void>;
  /** Ready-made configs with these words in their names. */
  findReady(pattern: string): Promise<readonly ConfigChoice[]>;
  toYaml(): Promise<string>;
  /** The command that trains the same in a terminal. */
  readonly command: () => string;
  /** Run and checkpoint to begin from; undefined for a fresh adapter. */
  readonly parent: () => { readonly runId: string; readonly checkpoint: string } | undefined;
  setParent(parent: { readonly runId: string; readonly checkpoint: string } | undefined): void;
  /** What the next run will take and how long it will last. */
  readonly plan: Plan;
}

type Changes = ReadonlyMap<string, unknown>;
interface Kept {
  readonly preset: PresetName;
  readonly changes: Changes;
}

// Of so many rows the questions are taken.
const LOOKED_AT_ROWS = 100;

export function createRecipeSlice(context: SliceContext): RecipeSlice {
  const [kept, setKept] = createSignal<Kept>(readSetting("recipe", readKept));
  const [problems, setProblems] = createSignal<ReadonlyMap<string, unknown>>(new Map());
  const [parent, setParent] = createSignal<ReturnType<RecipeSlice["parent"]>>();
  const questions = createQuestions(context);

  const chosen = () => {
    const { models, data } = context.session();
    return { model: models.selected(), data: data.selected() };
  };
  const base = (preset: PresetName) => {
    const { model, data } = chosen();
    return presetValues(preset, factsOf(model, data)).set("evaluation_inputs", questions());
  };
  const values = () => new Map([...base(kept().preset), ...kept().changes]);
  const config = () => {
    const { model, data } = chosen();
    return completeConfig(values(), model, data);
  };
  const keep = (next: Kept) => {
    setKept(next);
    writeSetting("recipe", { preset: next.preset, changes: Object.fromEntries(next.changes) });
  };
  const withoutProblem = (path: string) =>
    setProblems(new Map([...problems()].filter(([known]) => known !== path)));
  const reset = (path: string) => {
    withoutProblem(path);
    const { preset, changes } = kept();
    keep({ preset, changes: new Map([...changes].filter(([known]) => known !== path)) });
  };
  const load = (loaded: TrainConfig) => {
    const changes = [...valuesOf(loaded)].filter(([path]) => !SET_BY_THE_PAGE.has(path));
    setProblems(new Map());
    keep({ preset: kept().preset, changes: new Map(changes) });
  };

  return {
    config,
    preset: () => kept().preset,
    valuesOfPreset: base,
    choosePreset(preset) {
      const changes = [...kept().changes].filter(([path]) => !PRESET_PATHS.has(path));
      setProblems(new Map());
      keep({ preset, changes: new Map(changes) });
    },
    begin(preset) {
      setProblems(new Map());
      setParent(undefined);
      keep({ preset, changes: new Map() });
    },
    set(path, value) {
      const read = optionAt(path)?.read(value);
      if (read === undefined) {
        setProblems(new Map(problems()).set(path, value));
        return;
      }
      withoutProblem(path);
      keep({ preset: kept().preset, changes: new Map(kept().changes).set(path, read) });
    },
    reset,
    problems,
    differences: () =>
      changedValues(values(), base(kept().preset)).filter(({ path }) => !SET_BY_THE_PAGE.has(path)),
    load,
    async loadText(written, place) {
      if (isPython(written, place)) {
        const { config: read, notes } = await context.workers.data.readXtuner(written, place);
        load(fitFormat(read, chosen().data.length));
        return notes;
      }
      const { readConfig } = await import("../config/read.ts");
      // Which model and data is chosen on their own screens.
      load(readConfig(written, place, ["model=MODEL", "data=DATA"]));
      return [];
    },
    async loadReady(name) {
      const { config: read } = await context.workers.data.readReadyConfig(name);
      load(fitFormat(read, chosen().data.length));
    },
    findReady: (pattern) => context.workers.data.findReadyConfigs(pattern),
    async toYaml() {
      const { serializeConfig } = await import("../config/read.ts");
      return serializeConfig(config());
    },
    command: () => commandOf(kept().preset, config()),
    parent,
    setParent,
    plan: createPlan(context),
  };
}

/** Questions of the chosen data's first rows; none while they are read. */
function createQuestions({ workers, app, session }: SliceContext): () => readonly string[] {
  const [questions, setQuestions] = createSignal<readonly string[]>([]);
  const firstId = () => session().data.selected()[0]?.id;
  createEffect(
    on(firstId, async (id) => {
      setQuestions([]);
      if (id === undefined) return;
      const rows = await app.attempt(() => workers.data.rows(id, 0, LOOKED_AT_ROWS));
      // Meanwhile another one may have been chosen.
      if (rows && id === firstId()) setQuestions(suggestQuestions(rows));
    }),
  );
  return questions;
}

/** A .py file, or pasted text with the imports that every config of XTuner begins with. */
function isPython(text: string, place: string): boolean {
  return /\.py$/i.test(place) || /^(from [\w.]+ )?import \w/m.test(text);
}

/** Formats of several data sets are for as many; of others they are found out. */
function fitFormat(config: TrainConfig, dataSets: number): TrainConfig {
  const count = config.dataset_format.split(",").length;
  return count === 1 || count === dataSets ? config : { ...config, dataset_format: "auto" };
}

function optionAt(path: string) {
  return ALL_OPTIONS.find((placed) => placed.path === path)?.option;
}

/** What was kept may be another release's: values that are not taken any more are left out. */
function readKept(value: unknown): Kept {
  const record = (typeof value === "object" && value !== null ? value : {}) as {
    readonly preset?: unknown;
    readonly changes?: unknown;
  };
  const changes = Object.entries(record.changes ?? {})
    .filter(([path]) => !SET_BY_THE_PAGE.has(path))
    .map(([path, own]: [string, unknown]) => [path, optionAt(path)?.read(own)] as const)
    .filter(([, read]) => read !== undefined);
  return {
    preset: PRESETS.find((name) => name === record.preset) ?? "balanced",
    changes: new Map(changes),
  };
}
