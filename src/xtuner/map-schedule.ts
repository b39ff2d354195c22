// optim_wrapper, param_scheduler and train_cfg → the optimizer, the learning rate's course, the run's length.
import { asNumber, lastOf, notDict, openSection, type Section } from "./findings.ts";
import { excerptOf, isDict, isList, type PyEntry, type PyValue } from "./python-value.ts";
import type { Settings } from "./settings.ts";

/** How long a run is, in its own unit. */
export interface RunLength {
  readonly unit: "epochs" | "iterations";
  readonly total: number;
  /** Where it was given; 0 in an option of the command line. */
  readonly line: number;
}

export function mapOptimizer(wrapper: Section, settings: Settings): void {
  const { findings } = wrapper;
  const type = lastOf(wrapper.name("type") ?? "OptimWrapper");
  if (type !== "AmpOptimWrapper" && type !== "OptimWrapper") {
    findings.refuse(
      wrapper.lineOf("type"),
      `optim_wrapper.type is ${type}; Hone has AmpOptimWrapper`,
    );
  }
  settings.set(
    "accumulative_counts",
    wrapper.number("accumulative_counts") ?? 1,
    wrapper.lineOf("accumulative_counts"),
  );
  mapPrecision(wrapper, type, settings);
  mapClipping(wrapper, settings);
  const optimizer = wrapper.section("optimizer");
  if (optimizer === undefined) findings.refuse(wrapper.line, "optim_wrapper.optimizer is missing");
  else mapAdamW(optimizer, settings);
  if (wrapper.take("paramwise_cfg")?.value) {
    findings.refuse(
      wrapper.lineOf("paramwise_cfg"),
      "optim_wrapper.paramwise_cfg: all parameters of an adapter learn at one rate here",
    );
  }
  wrapper.close([], "refuse");
}

function mapPrecision(wrapper: Section, type: string, settings: Settings): void {
  const { findings } = wrapper;
  const dtype = wrapper.name("dtype");
  if (type === "OptimWrapper" || (dtype !== undefined && lastOf(dtype) === "float32")) {
    settings.set("compute_dtype", "f32", wrapper.lineOf("dtype"));
  } else if (dtype !== undefined && lastOf(dtype) === "bfloat16") {
    findings.inform(
      wrapper.lineOf("dtype"),
      "dtype bfloat16: WebGPU has none, so f16 is computed where the adapter has it, else f32",
    );
  }
  const scale = wrapper.take("loss_scale");
  if (scale === undefined || scale.value === null || scale.value === "dynamic") return;
  const number = asNumber(scale.value);
  if (number !== undefined) settings.set("loss_scale", number, scale.line);
  else {
    findings.warn(scale.line, "loss_scale has settings of its own; it is dynamic with PyTorch's");
  }
}

// Longer than any gradient: as good as none.
const NO_CLIPPING = 1e9;

function mapClipping(wrapper: Section, settings: Settings): void {
  const clip = wrapper.section("clip_grad");
  if (clip === undefined) {
    settings.set("max_norm", NO_CLIPPING, wrapper.lineOf("clip_grad"));
    return;
  }
  const kind = clip.text("type") ?? "norm";
  const norm = clip.number("norm_type") ?? 2;
  const max = clip.number("max_norm");
  if (kind !== "norm" || norm !== 2 || max === undefined) {
    clip.findings.refuse(
      clip.line,
      "optim_wrapper.clip_grad; Hone clips by the 2-norm: dict(max_norm=1)",
    );
    return;
  }
  settings.set("max_norm", max, clip.lineOf("max_norm"));
  clip.close(["error_if_nonfinite", "foreach"]);
}

/** Names of one arithmetic: AdamW in 32 bits. */
const ADAMW: ReadonlySet<string> = new Set(["AdamW", "PagedAdamW32bit", "AdamW32bit"]);

function mapAdamW(optimizer: Section, settings: Settings): void {
  const { findings } = optimizer;
  const type = lastOf(optimizer.name("type") ?? "");
  const line = optimizer.lineOf("type");
  if (!ADAMW.has(type)) {
    findings.refuse(line, `the optimizer ${type || "without a type"}; Hone has AdamW`);
  } else if (type !== "AdamW") {
    findings.inform(line, `${type} is AdamW in 32 bits, kept on the GPU here`);
  }
  // Where a number is absent it is PyTorch's default.
  settings.set("lr", optimizer.number("lr") ?? 1e-3, optimizer.lineOf("lr"));
  settings.set("eps", optimizer.number("eps") ?? 1e-8, optimizer.lineOf("eps"));
  settings.set(
    "weight_decay",
    optimizer.number("weight_decay") ?? 1e-2,
    optimizer.lineOf("weight_decay"),
  );
  const betas = optimizer.list("betas");
  settings.set(
    "betas",
    betas === undefined ? [0.9, 0.999] : betas.items.map(plainOf),
    optimizer.lineOf("betas"),
  );
  for (const key of ["amsgrad", "maximize"]) {
    if (optimizer.flag(key) === true) findings.refuse(optimizer.lineOf(key), `AdamW's ${key}`);
  }
  optimizer.close(["fused", "foreach", "capturable", "differentiable"], "refuse");
}

/** A number, or what to show of anything else where it is refused; lists one level down. */
function plainOf(value: PyValue): unknown {
  return isList(value) ? value.items.map(plainItem) : plainItem(value);
}

function plainItem(value: PyValue): unknown {
  return typeof value === "string" ? value : (asNumber(value) ?? excerptOf(value));
}

/** train_cfg=dict(type=TrainLoop, max_epochs=3), or max_iters. */
export function mapLength(trainCfg: Section, settings: Settings): RunLength | undefined {
  const { findings } = trainCfg;
  const type = lastOf(trainCfg.name("type") ?? "TrainLoop");
  if (!["TrainLoop", "EpochBasedTrainLoop", "IterBasedTrainLoop"].includes(type)) {
    findings.refuse(trainCfg.lineOf("type"), `train_cfg.type is ${type}; Hone has TrainLoop`);
  }
  trainCfg.flag("by_epoch");
  const epochs = trainCfg.number("max_epochs");
  const iterations = trainCfg.number("max_iters");
  trainCfg.close(["val_interval", "val_begin"]);
  if (epochs !== undefined && iterations !== undefined) {
    findings.refuse(
      trainCfg.line,
      "train_cfg has max_epochs and max_iters; XTuner takes one of them",
    );
  }
  if (iterations !== undefined) {
    settings.set("max_steps", iterations, trainCfg.lineOf("max_iters"));
    return { unit: "iterations", total: iterations, line: trainCfg.lineOf("max_iters") };
  }
  if (epochs === undefined) {
    findings.refuse(trainCfg.line, "train_cfg has no max_epochs and no max_iters");
    return undefined;
  }
  settings.set("max_epochs", epochs, trainCfg.lineOf("max_epochs"));
  return { unit: "epochs", total: epochs, line: trainCfg.lineOf("max_epochs") };
}

/** param_scheduler: a warm-up or none, then cosine, linear or constant, over the whole run. */
export function mapSchedulers(
  entry: PyEntry | undefined,
  length: RunLength,
  root: Section,
  settings: Settings,
): void {
  const { findings } = root;
  const line = entry?.line ?? root.line;
  const value = entry?.value ?? null;
  const items = value === null ? [] : isList(value) ? value.items : [value];
  const parts = items.flatMap((item, index) => {
    const path = `param_scheduler[${index}]`;
    if (isDict(item)) return [readPart(openSection(item, path, findings), length)];
    findings.refuse(line, notDict(path, item));
    return [];
  });
  const [first] = parts;
  const warmup =
    first?.kind === "LinearLR" && first.begin === 0 && first.to === 1 ? first : undefined;
  const [main, ...more] = warmup === undefined ? parts : parts.slice(1);
  const end = main?.end ?? length.total;
  if (length.line === 0 && end !== length.total) {
    const at = (index: number) => (isList(value) ? `param_scheduler.${index}` : "param_scheduler");
    const paths =
      warmup === undefined ? `${at(0)}.end` : `${at(0)}.end, ${at(1)}.begin and ${at(1)}.end`;
    const key = length.unit === "epochs" ? "max_epochs" : "max_iters";
    findings.refuse(
      0,
      `--cfg-options train_cfg.${key}=${length.total}, while param_scheduler still ends at ${end}: give ${paths} in --cfg-options too, or edit ${key} in the file`,
    );
    return;
  }
  if (more.length > 0) {
    findings.refuse(
      line,
      "more than a warm-up and one schedule; Hone has warm-up and cosine, linear or constant",
    );
  }
  const ratio = warmup === undefined ? 0 : ratioOf(warmup, length, line, root);
  settings.set("warmup_ratio", ratio, line);
  if (warmup !== undefined && warmup.from !== 1e-5) {
    findings.warn(line, `the warm-up begins at ${warmup.from} of the rate; here at 1e-05`);
  }
  settings.set("lr_scheduler", nameMain(main, warmup, length, line, root), line);
}

interface Part {
  readonly kind: string;
  /** In the run's unit. */
  readonly begin: number;
  /** Undefined: to the end. */
  readonly end: number | undefined;
  readonly span: number | undefined;
  /** Factors of a LinearLR. */
  readonly from: number;
  readonly to: number;
  /** Whether it falls to nothing, for a cosine; whether it leaves the rate as it is, for a constant. */
  readonly isPlain: boolean;
}

function readPart(part: Section, length: RunLength): Part {
  const { findings } = part;
  const kind = lastOf(part.name("type") ?? "").replace(/^(.*)ParamScheduler$/, "$1LR");
  const byEpoch = part.flag("by_epoch") ?? true;
  const converts = part.flag("convert_to_iter_based") ?? false;
  if (byEpoch !== (length.unit === "epochs")) {
    findings.refuse(
      part.line,
      `${part.path} counts in ${byEpoch ? "epochs" : "iterations"} and train_cfg in ${length.unit}`,
    );
  } else if (byEpoch && !converts) {
    findings.refuse(
      part.line,
      `${part.path} changes the rate once an epoch; add convert_to_iter_based=True`,
    );
  }
  const minimum = part.number("eta_min") ?? 0;
  const factor = part.number("factor") ?? 1 / 3;
  const read: Part = {
    kind,
    begin: part.number("begin") ?? 0,
    end: part.number("end"),
    span: part.number("T_max"),
    from: part.number("start_factor") ?? 1 / 3,
    to: part.number("end_factor") ?? 1,
    isPlain: kind === "CosineAnnealingLR" ? minimum === 0 : kind !== "ConstantLR" || factor === 1,
  };
  part.close(["last_step", "verbose"], "refuse");
  return read;
}

function ratioOf(warmup: Part, length: RunLength, line: number, root: Section): number {
  const end = warmup.end;
  if (end === undefined || end > length.total) {
    root.findings.refuse(line, "the warm-up has no end within the run");
    return 0;
  }
  // 0.03 * 3 / 3 may be one digit off 0.03, which is what was written.
  const exact = end / length.total;
  const short = Number(exact.toPrecision(12));
  return short * length.total === end ? short : exact;
}

function nameMain(
  main: Part | undefined,
  warmup: Part | undefined,
  length: RunLength,
  line: number,
  root: Section,
): "cosine" | "linear" | "constant" {
  const { findings } = root;
  if (main === undefined) return "constant";
  const begin = warmup?.end ?? 0;
  if (main.begin !== begin || (main.end !== undefined && main.end !== length.total)) {
    findings.refuse(
      line,
      "a schedule that does not go from the end of the warm-up to the end of the run",
    );
  }
  if (main.kind === "CosineAnnealingLR" && main.isPlain) {
    // Given by XTuner 0.1.11 beside a warm-up, which ends the run above 0.
    if (main.span !== undefined && main.span !== length.total - begin) {
      if (main.span !== length.total)
        findings.refuse(line, `T_max=${main.span} is not the run's length`);
      findings.inform(
        line,
        `T_max=${main.span} counts from the end of the warm-up, so the rate would not quite reach 0; here it does`,
      );
    }
    return "cosine";
  }
  if (main.kind === "LinearLR" && main.from === 1 && main.to === 0) return "linear";
  if (main.kind === "ConstantLR" && main.isPlain) return "constant";
  findings.refuse(
    line,
    `the schedule ${main.kind || "without a type"} with these settings; Hone has CosineAnnealingLR to 0, LinearLR to 0, and a constant rate`,
  );
  return "constant";
}
