// process_hf_dataset(…) and load_dataset(…) → files or data sets of the hub, and how they become examples.
import { PROMPT_TEMPLATES } from "../data/template-table.ts";
import { asTexts, lastOf, nameOf, type Section } from "./findings.ts";
import { isDict, isList, kindOf, type PyDict, type PyValue } from "./python-value.ts";

/** One data set of a config. */
export interface MappedDataset {
  /** Files, or ids of the hub. */
  readonly data: readonly string[];
  readonly format: string;
  readonly template: string;
  readonly split: string;
  readonly maxLength: number | undefined;
  readonly maxExamples: number | undefined;
  readonly packs: boolean;
  readonly shufflesFirst: boolean;
  readonly showsAnswers: boolean;
  readonly keepsApart: boolean | undefined;
  readonly line: number;
}

/** Hone's name for every split. */
const ALL = "all";

const PROCESSES = ["process_hf_dataset", "process_ms_dataset"];

/** What a data set of another making is, in words, and what to do instead. */
const OTHER_DATASETS: readonly (readonly [RegExp, string])[] = [
  [
    /moss/i,
    "MOSS' own reader of its own form. Give the conversations as JSON with messages instead",
  ],
  [/llava|refcoco|image|vl/i, "data with images; Hone tunes models of text"],
  [/preference|dpo|reward/i, "pairs of answers to prefer; Hone tunes by examples of answers"],
  [
    /intern_repo|packed|untokenized|concat/i,
    "a reader of its own. Give the data as files in a form that hone list-dataset-format names",
  ],
];

/** Reads one data set; undefined where it was refused. */
export function mapDataset(dataset: Section, splitByDefault = "train"): MappedDataset | undefined {
  const { findings } = dataset;
  const type = dataset.name("type") ?? "";
  if (!PROCESSES.includes(lastOf(type))) {
    const [, what] = OTHER_DATASETS.find(([pattern]) => pattern.test(lastOf(type))) ?? [];
    findings.refuse(
      dataset.lineOf("type"),
      `${dataset.path}.type is ${type || "not given"}: ${what ?? "Hone reads process_hf_dataset"}`,
    );
    return undefined;
  }
  // None is all splits, one after the other; only where nothing is said it is train.
  const splitEntry = dataset.take("split");
  const ownSplit = splitEntry === undefined ? splitByDefault : (dataset.text("split") ?? ALL);
  const source = dataset.section("dataset");
  if (source === undefined) {
    findings.refuse(dataset.line, `${dataset.path}.dataset is missing`);
    return undefined;
  }
  const loaded = mapSource(source, ownSplit);
  const mapped = {
    ...loaded,
    format: mapFormat(dataset),
    template: mapTemplate(dataset),
    maxLength: dataset.number("max_length"),
    maxExamples: dataset.number("max_dataset_length"),
    packs: dataset.flag("pack_to_max_length") ?? true,
    shufflesFirst: dataset.flag("shuffle_before_pack") ?? true,
    showsAnswers: dataset.flag("input_ids_with_output") ?? true,
    keepsApart: dataset.flag("use_varlen_attn"),
    line: dataset.line,
  };
  if (mapped.packs && dataset.flag("remove_unused_columns") === false) {
    findings.warn(dataset.lineOf("remove_unused_columns"), UNUSED_COLUMNS);
  }
  refuseRest(dataset);
  return mapped;
}

/** XTuner's own words, for its training, which goes on; its check-custom-dataset stops there. */
export const UNUSED_COLUMNS =
  "remove_unused_columns is False: We have to remove unused columns if `pack_to_max_length` is set to True";

function refuseRest(dataset: Section): void {
  const { findings } = dataset;
  const renames = dataset.take("rename_maps");
  if (renames && isList(renames.value) && renames.value.items.length > 0) {
    findings.refuse(
      renames.line,
      `${dataset.path}.rename_maps: rename the columns in the file, or name them in field_messages of a YAML config`,
    );
  }
  if (dataset.flag("with_image_token") === true) {
    findings.refuse(
      dataset.lineOf("with_image_token"),
      "with_image_token: Hone tunes models of text",
    );
  }
  const processes = dataset.number("map_num_proc");
  if (processes !== undefined && processes !== 32) {
    findings.warn(
      dataset.lineOf("map_num_proc"),
      `map_num_proc is ${processes}; rows are packed as by XTuner's default of 32 processes`,
    );
  }
  dataset.close(
    ["tokenizer", "remove_unused_columns", "do_dataset_tokenization", "num_proc"],
    "refuse",
  );
}

/** load_dataset(path, name, data_files, data_dir, split) and ModelScope's MsDataset.load. */
function mapSource(source: Section, split: string): { data: readonly string[]; split: string } {
  const { findings } = source;
  const type = source.name("type") ?? "";
  if (type.endsWith("MsDataset.load")) {
    const name = source.text("dataset_name") ?? "";
    findings.warn(
      source.lineOf("type"),
      `${name} is a data set of ModelScope, which Hone does not reach: download it and name its file in data`,
    );
    const own = source.text("split") ?? split;
    source.close(["subset_name", "namespace"]);
    return { data: [name], split: own };
  }
  if (lastOf(type) !== "load_dataset") {
    findings.refuse(
      source.lineOf("type"),
      `${source.path}.type is ${type || "not given"}; Hone reads load_dataset. Give the data as files instead`,
    );
    return { data: [], split };
  }
  const path = source.text("path") ?? "";
  const ownSplit = source.text("split") ?? split;
  if (/[[+]/.test(ownSplit)) {
    findings.refuse(
      source.lineOf("split"),
      `the split ${ownSplit}: name a whole split, and set max_dataset_length for fewer rows`,
    );
  }
  const data = FILE_BUILDERS.has(path)
    ? mapFiles(source, ownSplit)
    : mapHub(source, path, ownSplit);
  const field = source.text("field");
  if (field !== undefined) {
    findings.refuse(
      source.lineOf("field"),
      `field=${field}: give a file whose top level is the rows`,
    );
  }
  source.close(
    "cache_dir token use_auth_token trust_remote_code num_proc keep_in_memory download_mode verification_mode ignore_verifications".split(
      " ",
    ),
    "refuse",
  );
  return { data, split: ownSplit };
}

/** load_dataset's names for kinds of files. */
const FILE_BUILDERS: ReadonlySet<string> = new Set(["json", "csv", "text", "parquet"]);

function mapFiles(source: Section, split: string): readonly string[] {
  const { findings } = source;
  const entry = source.take("data_files");
  const folder = source.text("data_dir");
  const files = entry && filesOf(entry.value, split);
  if (files === undefined || files.length === 0) {
    findings.refuse(
      entry?.line ?? source.line,
      `${source.path}.data_files has no file for the split ${split === ALL ? "of any name" : split}; give a path, a list of paths, or a dict of splits`,
    );
    return [];
  }
  const pattern = files.find((file) => /[*?[]/.test(file));
  if (pattern !== undefined) {
    findings.refuse(entry?.line ?? source.line, `the pattern ${pattern}; name each file`);
  }
  return files.map((file) =>
    folder === undefined ? file : `${folder.replace(/\/$/, "")}/${file}`,
  );
}

/** Files of a split: of all splits where it is "all", and all files where they are in no splits. */
function filesOf(value: PyValue, split: string): string[] | undefined {
  if (!isDict(value)) return split === "train" || split === ALL ? asTexts(value) : undefined;
  const chosen =
    split === ALL
      ? [...value.entries.values()]
      : [value.entries.get(split)].filter((e) => e !== undefined);
  const files = chosen.flatMap((entry) => asTexts(entry.value) ?? []);
  return files.length > 0 ? files : undefined;
}

/** "org/name", "org/name/config", "org/name/file.json". */
function mapHub(source: Section, path: string, split: string): readonly string[] {
  const { findings } = source;
  if (path === "") findings.refuse(source.line, `${source.path}.path is missing`);
  const revision = source.text("revision");
  const repo = revision === undefined ? path : `${path}@${revision}`;
  const name = source.text("name");
  const folder = source.text("data_dir");
  const entry = source.take("data_files");
  if (entry !== undefined && entry.value !== null) {
    const files = filesOf(entry.value, split) ?? [];
    if (files.length === 0) findings.refuse(entry.line, `${source.path}.data_files names no file`);
    return files.map((file) => [repo, folder, file].filter(Boolean).join("/"));
  }
  const inside = name ?? folder;
  return [inside === undefined ? repo : `${repo}/${inside.replaceAll(/^\/+|\/+$/g, "")}`];
}

/** XTuner's map functions are called NAME_map_fn, and NAME is what list-dataset-format shows. */
function mapFormat(dataset: Section): string {
  const entry = dataset.take("dataset_map_fn");
  if (entry === undefined || entry.value === null) return "standard";
  const name = nameOf(entry.value);
  const isXtuner = name !== undefined && (!name.includes(".") || name.startsWith("xtuner."));
  if (name !== undefined && isXtuner) return lastOf(name).replace(/_map_fn$/, "");
  dataset.findings.refuse(
    entry.line,
    `dataset_map_fn is ${name ?? kindOf(entry.value)}, a function of one's own, which is never run. Give the data in a form that hone list-dataset-format names`,
  );
  return "standard";
}

function mapTemplate(dataset: Section): string {
  const entry = dataset.take("template_map_fn");
  if (entry === undefined || entry.value === null) return "none";
  if (isDict(entry.value)) {
    const template = entry.value.entries.get("template");
    if (template === undefined || template.value === null) return "none";
    return templateName(template.value, template.line, dataset);
  }
  dataset.findings.refuse(
    entry.line,
    `template_map_fn is ${kindOf(entry.value)}; Hone reads dict(type=template_map_fn_factory, template=PROMPT_TEMPLATE.…)`,
  );
  return "none";
}

/** PROMPT_TEMPLATE.x, as a symbol, as a text, or written out. */
export function templateName(value: PyValue, line: number, section: Section): string {
  if (isDict(value)) {
    const known = Object.keys(PROMPT_TEMPLATES).find((name) => isWrittenOut(value, name));
    if (known !== undefined) return known;
    section.findings.refuse(
      line,
      "a prompt template of one's own; take one of hone's names (prompt_template in hone train --help), or prompt_template: auto for the model's own",
    );
    return "none";
  }
  const name = nameOf(value);
  const last = name === undefined ? "" : lastOf(name);
  if (Object.hasOwn(PROMPT_TEMPLATES, last)) return last;
  section.findings.refuse(
    line,
    `there is no prompt template ${name ?? kindOf(value)}; there are ${Object.keys(PROMPT_TEMPLATES).join(", ")}`,
  );
  return "none";
}

/** A template as XTuner's table has it, in full. */
function isWrittenOut(dict: PyDict, name: string): boolean {
  const template = PROMPT_TEMPLATES[name as keyof typeof PROMPT_TEMPLATES];
  const texts = {
    SYSTEM: template.system ?? "",
    INSTRUCTION: template.instruction,
    SUFFIX: template.suffix ?? "",
    SEP: template.sep ?? "",
  };
  return Object.entries(texts).every(([key, text]) => {
    const own = dict.entries.get(key)?.value ?? "";
    return own === text;
  });
}
