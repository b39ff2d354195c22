// A config of XTuner, a .py file → a run of Hone, or everything in it that stands against that.
//
// The file is parsed and evaluated as literals, never executed. What XTuner's runner would look at is
// mapped; names that only help to write it (lr, data_path, …) count for what they end up in.
import { UsageError } from "../base/error.ts";
import { parseConfig } from "../config/read.ts";
import type { TrainConfig } from "../config.ts";
import { SYSTEM_TEMPLATES } from "../data/template-table.ts";
import { applyConfigOptions } from "./cfg-options.ts";
import { createFindings, type Finding, openSection, type Section, shorten } from "./findings.ts";
import { mapTestData, mapTrainData } from "./map-data.ts";
import { checkTokenizer, mapModel } from "./map-model.ts";
import {
  HARMLESS_NAMES,
  mapCustomHooks,
  mapDefaultHooks,
  mapStart,
  type Runtime,
} from "./map-runtime.ts";
import { mapLength, mapOptimizer, mapSchedulers } from "./map-schedule.ts";
import { evaluatePython } from "./python-evaluate.ts";
import type { Namespace, PyEntry, PySymbol, PyValue } from "./python-value.ts";
import { createSettings, type Settings } from "./settings.ts";
import { writeConfigOptions } from "./written-options.ts";

export interface ConfigNote {
  readonly severity: "warning" | "info";
  readonly text: string;
}

export interface XtunerConfig {
  readonly config: TrainConfig;
  /** What has no equivalent and does no harm, and how some things are read, in the file's order. */
  readonly notes: readonly ConfigNote[];
  /** What `cfgOptions` changed, as lines that the end of the file would say it in. */
  readonly changes: readonly string[];
}

export interface XtunerReadOptions {
  /** "optim_wrapper.optimizer.lr=1e-4", as XTuner's --cfg-options takes them. */
  readonly cfgOptions?: readonly string[];
}

/** Reads XTuner's config. Throws a UsageError that lists everything refused with its line. */
export function readXtunerConfig(
  text: string,
  place: string,
  { cfgOptions = [] }: XtunerReadOptions = {},
): XtunerConfig {
  const evaluated = evaluatePython(text, place, resolveKnown);
  if (evaluated.refused.length > 0) throw refusal(place, evaluated.refused);
  const findings = createFindings();
  const names = applyConfigOptions(evaluated.names, cfgOptions, findings);
  const settings = createSettings();
  const root = openSection({ kind: "dict", entries: new Map(names), line: 0 }, "", findings);
  mapConfig({ root, names, settings, resolve: resolveKnown });
  const refused = findings.all.filter(({ severity }) => severity === "refused");
  if (refused.length > 0) throw refusal(place, refused);
  checkSize(settings, place);
  const config = parseConfig(
    settings.nested(),
    place,
    (path) => settings.lineOf(path) || undefined,
  );
  return {
    config,
    notes: notesOf(findings.all),
    changes: writeConfigOptions(evaluated.names, cfgOptions),
  };
}

/** All the texts of a run together; a million copies of a long one are a few words in the file. */
const MOST_CHARACTERS = 1 << 22;

function checkSize(settings: Settings, place: string): void {
  let characters = 0;
  for (const value of Object.values(settings.nested())) {
    for (const item of Array.isArray(value) ? (value as unknown[]) : [value]) {
      if (typeof item === "string") characters += item.length;
    }
  }
  if (characters <= MOST_CHARACTERS) return;
  throw new UsageError(
    `${place} comes to texts of ${characters} characters; a run has at most ${MOST_CHARACTERS}.`,
    "Write fewer or shorter ones.",
  );
}

/** The texts that XTuner's tables hold behind a name. */
function resolveKnown(symbol: PySymbol): PyValue {
  const [, name] = /^xtuner\.(?:[\w.]+\.)?SYSTEM_TEMPLATE\.(\w+)$/.exec(symbol.name) ?? [];
  if (name === undefined || !Object.hasOwn(SYSTEM_TEMPLATES, name)) return symbol;
  return SYSTEM_TEMPLATES[name as keyof typeof SYSTEM_TEMPLATES];
}

function mapConfig(run: Runtime): void {
  const { root, settings } = run;
  const { findings } = root;
  settings.set("compat", "xtuner-0.1.17", 0);
  settings.set("use_varlen_attn", false, 0);
  if (root.take("framework")?.value === "huggingface" || root.take("training_args")) {
    findings.refuse(
      Math.max(root.lineOf("framework"), root.lineOf("training_args")),
      "a config for transformers' Trainer (framework, training_args); take the one of the same name without _hf",
    );
    return;
  }
  const parallel = root.number("sequence_parallel_size") ?? 1;
  if (parallel !== 1) {
    findings.refuse(
      root.lineOf("sequence_parallel_size"),
      `sequence_parallel_size is ${parallel}; Hone trains on one GPU`,
    );
  }
  const model = need(root, "model");
  if (model) mapModel(model, settings);
  const tokenizer = root.section("tokenizer");
  if (tokenizer) checkTokenizer(tokenizer, settings.get("model"));
  const dataloader = need(root, "train_dataloader");
  if (dataloader) mapTrainData(dataloader, settings);
  mapTestData(
    { val: root.section("val_dataloader"), test: root.section("test_dataloader") },
    settings,
  );
  const wrapper = need(root, "optim_wrapper");
  if (wrapper) mapOptimizer(wrapper, settings);
  const trainCfg = need(root, "train_cfg");
  const length = trainCfg && mapLength(trainCfg, settings);
  if (length) mapSchedulers(root.take("param_scheduler"), length, root, settings);
  mapDefaultHooks(root.section("default_hooks"), settings);
  mapHooks(root.take("custom_hooks"), run);
  mapStart(run);
  warnOfMachinery(run.names, root);
}

function mapHooks(entry: PyEntry | undefined, run: Runtime): void {
  mapCustomHooks(entry?.value ?? null, entry?.line ?? 0, run);
  if (run.settings.has("evaluation_inputs")) return;
  run.settings.set("evaluation_inputs", [], 0);
  run.settings.set("evaluation_freq", 0, 0);
}

function need(root: Section, key: string): Section | undefined {
  const section = root.section(key);
  if (section === undefined && root.take(key) === undefined) {
    root.findings.refuse(0, `there is no ${key}: is this a config of XTuner?`);
  }
  return section;
}

/** Of the machinery's names, those that ask for something. */
function warnOfMachinery(names: Namespace, { findings }: Section): void {
  for (const [name, { value, line }] of names) {
    if (name === "strategy" && value !== null) {
      findings.warn(line, "strategy: Hone trains on one GPU without DeepSpeed");
    } else if (name === "auto_scale_lr" && value !== null) {
      findings.warn(line, "auto_scale_lr is not followed; the rate is the one written");
    } else if (HARMLESS_NAMES.has(name) && ASKS[name]?.(value) === true) {
      findings.warn(line, `${name} has no equivalent here; nothing that is learned depends on it`);
    }
  }
}

const ASKS: Readonly<Record<string, ((value: PyValue) => boolean) | undefined>> = {
  visualizer: (value) => value !== null,
  deepspeed: (value) => value !== null,
  launcher: (value) => value !== null && value !== "none",
};

const MOST_REFUSED = 100;

function refusal(
  place: string,
  found: readonly { readonly line: number; readonly text: string }[],
): UsageError {
  const lines = found
    .toSorted((a, b) => a.line - b.line)
    .slice(0, MOST_REFUSED)
    .map(({ line, text }) => shorten(line === 0 ? text : `line ${line}: ${text}`, 500));
  if (found.length > MOST_REFUSED) lines.push(`… and ${found.length - MOST_REFUSED} more`);
  const remedy = "Change that, or write a YAML config (hone list-cfg has ready ones).";
  return lines.length === 1
    ? new UsageError(`${place} has something that Hone does not do: ${lines[0]}.`, remedy)
    : new UsageError(
        `${place} has ${found.length} things that Hone does not do:\n${lines.map((line) => `  ${line}`).join("\n")}`,
        remedy,
      );
}

function notesOf(found: readonly Finding[]): ConfigNote[] {
  return found
    .toSorted((a, b) => a.line - b.line)
    .flatMap(({ severity, line, text }) =>
      severity === "refused"
        ? []
        : [{ severity, text: line === 0 ? `${text}.` : `line ${line}: ${text}.` }],
    );
}
