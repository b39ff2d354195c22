// Hooks, seed, folders and all that surrounds a run → when it saves, logs and asks, and what it begins from.
import { asTexts, lastOf, nameOf, notDict, openSection, type Section } from "./findings.ts";
import { templateName } from "./map-dataset.ts";
import { isDict, isList, type Namespace, type PySymbol, type PyValue } from "./python-value.ts";
import type { Settings } from "./settings.ts";

/** What XTuner's configs say where they say anything. */
const SAVE_STEPS = 500;

export function mapDefaultHooks(hooks: Section | undefined, settings: Settings): void {
  if (hooks === undefined) return;
  const { findings } = hooks;
  const logger = hooks.section("logger");
  settings.set("logging_steps", logger?.number("interval") ?? 10, logger?.lineOf("interval") ?? 0);
  logger?.close("type log_metric_by_epoch ignore_last interval_exp_name out_dir".split(" "));
  const checkpoint = hooks.section("checkpoint");
  if (checkpoint !== undefined) mapCheckpoints(checkpoint, settings);
  hooks.close(["timer", "param_scheduler", "sampler_seed", "runtime_info", "sync_buffers"]);
  if (hooks.take("checkpoint")?.value === null) {
    findings.warn(
      hooks.lineOf("checkpoint"),
      "default_hooks.checkpoint is None; Hone always saves",
    );
  }
}

function mapCheckpoints(hook: Section, settings: Settings): void {
  const { findings } = hook;
  const interval = hook.number("interval") ?? 1;
  const line = hook.lineOf("interval");
  if (hook.flag("by_epoch") ?? true) {
    settings.set("save_steps", SAVE_STEPS, line);
    findings.warn(
      line,
      `checkpoints were to be saved every ${interval === 1 ? "epoch" : `${interval} epochs`}; here it is every ${SAVE_STEPS} iterations and at the end (by_epoch=False, interval=… sets it)`,
    );
  } else settings.set("save_steps", interval, line);
  settings.set(
    "save_total_limit",
    hook.number("max_keep_ckpts") ?? -1,
    hook.lineOf("max_keep_ckpts"),
  );
  hook.close(
    "type save_last save_optimizer save_param_scheduler out_dir filename_tmpl save_begin".split(
      " ",
    ),
  );
}

/** Hooks that show or count something and change nothing. */
const HARMLESS_HOOKS: ReadonlySet<string> = new Set([
  "DatasetInfoHook",
  "VarlenAttnArgsToMessageHubHook",
]);
const SILENT_HOOKS: ReadonlySet<string> = new Set(["ThroughputHook", "HFCheckpointHook"]);

export function mapCustomHooks(value: PyValue, line: number, run: Runtime): void {
  const { findings } = run.root;
  if (value === null) return;
  if (!isList(value)) {
    findings.refuse(line, `custom_hooks is not a list`);
    return;
  }
  for (const [index, item] of value.items.entries()) {
    const path = `custom_hooks[${index}]`;
    if (!isDict(item)) {
      findings.refuse(line, notDict(path, item));
      continue;
    }
    const hook = openSection(item, path, findings);
    const type = lastOf(hook.name("type") ?? "");
    if (type === "EvaluateChatHook") mapEvaluation(hook, run);
    else if (SILENT_HOOKS.has(type)) {
      findings.warn(
        hook.line,
        `${type} has no equivalent here; nothing that is learned depends on it`,
      );
    } else if (!HARMLESS_HOOKS.has(type)) {
      findings.refuse(hook.line, `the hook ${type || path}; Hone does not know what it would do`);
    }
  }
}

/** What the mapping of the run's surroundings looks at. */
export interface Runtime {
  readonly root: Section;
  readonly names: Namespace;
  readonly settings: Settings;
  resolve(symbol: PySymbol): PyValue;
}

function mapEvaluation(hook: Section, run: Runtime): void {
  const { settings } = run;
  const { findings } = hook;
  if (settings.has("evaluation_inputs")) {
    findings.warn(hook.line, "a second EvaluateChatHook, of which nothing is read");
    return;
  }
  const inputs = hook.take("evaluation_inputs");
  const texts = inputs === undefined || inputs.value === null ? [] : asTexts(inputs.value);
  if (texts === undefined) {
    findings.refuse(
      hook.lineOf("evaluation_inputs"),
      `${hook.path}.evaluation_inputs is no list of texts`,
    );
  }
  settings.set("evaluation_inputs", texts ?? [], hook.lineOf("evaluation_inputs"));
  const every = hook.number("every_n_iters") ?? 0;
  settings.set("evaluation_freq", every, hook.lineOf("every_n_iters"));
  settings.set(
    "evaluation_max_new_tokens",
    hook.number("max_new_tokens") ?? 600,
    hook.lineOf("max_new_tokens"),
  );
  const system = hook.take("system");
  if (system !== undefined) {
    settings.set("evaluation_system", systemText(system.value, system.line, run), system.line);
  }
  if (hook.take("evaluation_images")?.value) {
    findings.refuse(
      hook.lineOf("evaluation_images"),
      "evaluation_images: Hone tunes models of text",
    );
  }
  const template = hook.take("prompt_template");
  const name = template?.value ? templateName(template.value, template.line, hook) : "none";
  const trained = settings.get("prompt_template");
  if (typeof trained === "string" && name !== trained) {
    const asked = name === "none" ? "without a template" : `with the template ${name}`;
    findings.warn(
      template?.line ?? hook.line,
      `questions would be asked ${asked}; they are asked with ${trained}, as in the data`,
    );
  }
  hook.close("type tokenizer stop_word stop_words image_processor generation_kwargs".split(" "));
}

/**
 * SYSTEM_TEMPLATE.x or a text, as XTuner's hook puts it together: str.format with the config's own names, so
 * that {bot_name} is filled and {{ is one brace.
 */
function systemText(value: PyValue, line: number, run: Runtime): string {
  const { names, root } = run;
  const dotted = typeof value === "string" && /^xtuner\.[\w.]+$/.test(value) ? value : undefined;
  const name = typeof value === "string" ? dotted : nameOf(value);
  const text = name === undefined ? value : run.resolve({ kind: "symbol", name });
  if (text === null) return "";
  if (typeof text !== "string") {
    root.findings.refuse(
      line,
      `the system message ${name ?? "is no text"}, which Hone does not know`,
    );
    return "";
  }
  return text.replaceAll(/\{\{|\}\}|\{(\w*)\}/g, (found, key?: string) => {
    if (key === undefined) return found.charAt(0);
    const own = names.get(key)?.value;
    if (typeof own === "string" || typeof own === "bigint") return String(own);
    root.findings.warn(
      line,
      `the system message asks for {${key}}, which the config does not give`,
    );
    return found;
  });
}

/** Names that say how XTuner's own machinery runs; they change nothing that is learned. */
export const HARMLESS_NAMES: ReadonlySet<string> = new Set(
  "env_cfg visualizer vis_backends log_level log_processor launcher default_scope runner_type experiment_name cudnn_benchmark deepspeed local_rank val_cfg test_cfg val_evaluator test_evaluator".split(
    " ",
  ),
);

export function mapStart({ root, settings }: Runtime): void {
  const { findings } = root;
  const resumes = root.flag("resume") === true;
  const loadFrom = root.text("load_from");
  if (resumes) {
    const from = loadFrom === undefined ? "" : ` ${loadFrom}`;
    findings.warn(
      root.lineOf("resume"),
      `resume=True is not read from a config; run hone train with --resume${from}`,
    );
  } else if (loadFrom !== undefined) {
    settings.set("load_from", loadFrom, root.lineOf("load_from"));
  }
  const workDir = root.text("work_dir");
  if (workDir !== undefined) settings.set("work_dir", workDir, root.lineOf("work_dir"));
  const randomness = root.section("randomness");
  const seed = randomness?.number("seed");
  if (seed !== undefined) settings.set("seed", seed, randomness?.lineOf("seed") ?? 0);
  else {
    findings.inform(
      randomness?.line ?? 0,
      "the seed is None: XTuner would draw one, here it is 42 (--seed sets it)",
    );
  }
  randomness?.close(["deterministic", "diff_rank_seed"]);
}
