// train_dataloader, val_dataloader and test_dataloader → data, how it is cut into rows, and test questions.
import { lastOf, notDict, openSection, type Section, shorten } from "./findings.ts";
import { mapDataset, type MappedDataset } from "./map-dataset.ts";
import { isDict, isList, MOST_ITEMS, type PyEntry } from "./python-value.ts";
import type { Settings } from "./settings.ts";

/** Data sets, and those that hold them, are at most so many. */
const MOST_DATASETS = 1000;

export function mapTrainData(dataloader: Section, settings: Settings): void {
  const { findings } = dataloader;
  settings.set("batch_size", dataloader.number("batch_size") ?? 1, dataloader.lineOf("batch_size"));
  mapSampler(dataloader, settings);
  checkCollate(dataloader);
  const dataset = dataloader.take("dataset");
  const datasets =
    dataset === undefined ? [] : datasetsOf(dataset, "train_dataloader.dataset", dataloader);
  if (dataset === undefined)
    findings.refuse(dataloader.line, "train_dataloader.dataset is missing");
  const mapped: MappedDataset[] = [];
  let files = 0;
  for (const one of datasets) {
    const next = files > MOST_ITEMS ? undefined : mapDataset(one);
    if (next === undefined) continue;
    files += next.data.length;
    mapped.push(next);
  }
  if (files > MOST_ITEMS) findings.refuse(dataloader.line, `more than ${MOST_ITEMS} files of data`);
  if (mapped.length > 0) setData(mapped, dataloader, settings);
  dataloader.close(
    "num_workers persistent_workers pin_memory prefetch_factor drop_last batch_sampler".split(" "),
  );
}

function setData(mapped: readonly MappedDataset[], dataloader: Section, settings: Settings): void {
  const [first] = mapped;
  if (first === undefined) return;
  const { findings } = dataloader;
  const { line } = first;
  settings.set(
    "data",
    mapped.flatMap(({ data }) => data),
    line,
  );
  // A format for each entry of data; one for all where they are the same.
  const formats = mapped.flatMap(({ data, format }) => data.map(() => format));
  const isOne = formats.every((format) => format === first.format);
  settings.set("dataset_format", isOne ? first.format : formats.join(", "), line);
  const same = <Key extends keyof MappedDataset>(key: Key, what: string): MappedDataset[Key] => {
    const other = mapped.find((one) => one[key] !== first[key]);
    if (other !== undefined) {
      findings.refuse(
        other.line,
        `data sets with several ${what} (${String(first[key])} and ${String(other[key])}); a run of Hone has one`,
      );
    }
    return first[key];
  };
  settings.set("split", same("split", "splits"), line);
  settings.set("prompt_template", same("template", "prompt templates"), line);
  settings.set("pack_to_max_length", same("packs", "ways of packing"), line);
  settings.set("shuffle_before_pack", same("shufflesFirst", "ways of shuffling"), line);
  settings.set("input_ids_with_output", same("showsAnswers", "ways of showing answers"), line);
  settings.set("max_length", same("maxLength", "row lengths"), line);
  if (mapped.length > 1 && mapped.some(({ maxExamples }) => maxExamples !== undefined)) {
    findings.refuse(
      line,
      "max_dataset_length of one of several data sets; Hone draws from all of them together",
    );
  }
  settings.set("max_dataset_length", first.maxExamples ?? -1, line);
  const apart = same("keepsApart", "values of use_varlen_attn");
  if (apart === undefined) return;
  const isOther = apart !== settings.get("use_varlen_attn");
  if (isOther && settings.lineOf("use_varlen_attn") !== 0) {
    findings.refuse(
      line,
      `use_varlen_attn is ${apart ? "True" : "False"} for the data and not so for the model; XTuner needs it the same`,
    );
  }
  settings.set("use_varlen_attn", apart, line);
}

/** The data sets of a ConcatDataset, in order; of anything else, itself. */
function datasetsOf(entry: PyEntry, path: string, dataloader: Section): Section[] {
  const found: Section[] = [];
  // One dict may stand in many places, so that few lines hold more data sets than anybody could count.
  let visits = 0;
  const visit = ({ value, line }: PyEntry, name: string) => {
    if (++visits > MOST_DATASETS) {
      dataloader.findings.refuse(line, `more than ${MOST_DATASETS} data sets inside one another`);
      return;
    }
    if (!isDict(value)) {
      dataloader.findings.refuse(line, notDict(name, value));
      return;
    }
    const section = openSection(value, name, dataloader.findings);
    if (lastOf(section.name("type") ?? "") !== "ConcatDataset") {
      found.push(section);
      return;
    }
    // 0.1.11 has a dict by name, later releases a list.
    const inner = section.take("datasets") ?? section.take("datasets_cfg");
    if (inner === undefined) {
      dataloader.findings.refuse(line, `${name}.datasets is missing`);
    } else if (isList(inner.value)) {
      for (const [index, item] of inner.value.items.entries()) {
        if (visits <= MOST_DATASETS) {
          visit({ value: item, line: inner.line }, `${name}.datasets[${index}]`);
        }
      }
    } else if (isDict(inner.value)) {
      for (const [key, item] of inner.value.entries) {
        if (visits <= MOST_DATASETS) visit(item, `${name}.${shorten(String(key), 60)}`);
      }
    } else dataloader.findings.refuse(inner.line, notDict(`${name}.datasets`, inner.value));
    section.close();
  };
  visit(entry, path);
  return found;
}

function mapSampler(dataloader: Section, settings: Settings): void {
  const sampler = dataloader.section("sampler");
  if (sampler === undefined) return;
  const type = lastOf(sampler.name("type") ?? "DefaultSampler");
  if (type === "DefaultSampler") {
    settings.set("shuffle", sampler.flag("shuffle") ?? true, sampler.lineOf("shuffle"));
  } else {
    sampler.findings.refuse(
      sampler.lineOf("type"),
      `train_dataloader.sampler is ${type}; Hone visits rows as DefaultSampler does`,
    );
  }
  sampler.close(["seed", "round_up"]);
}

function checkCollate(dataloader: Section): void {
  const collate = dataloader.section("collate_fn");
  if (collate === undefined) return;
  const type = lastOf(collate.name("type") ?? "default_collate_fn");
  if (type !== "default_collate_fn") {
    dataloader.findings.refuse(collate.lineOf("type"), `collate_fn is ${type}, which Hone lacks`);
  }
}

export interface TestLoaders {
  readonly val: Section | undefined;
  readonly test: Section | undefined;
}

/** XTuner's MMLU loops: their questions are what `hone test` asks. */
export function mapTestData({ val, test }: TestLoaders, settings: Settings): void {
  for (const [loader, split] of [
    [test, "test"],
    [val, "val"],
  ] as const) {
    const dataset = loader?.section("dataset");
    if (loader === undefined || dataset === undefined) continue;
    const mapped = mapDataset(dataset, split);
    if (mapped === undefined || mapped.data.length === 0) continue;
    if (!settings.has("test_data")) settings.set("test_data", mapped.data, mapped.line);
    if (split === "val") {
      loader.findings.warn(
        loader.line,
        "val_dataloader: no loop of validation runs while training; run hone test on a checkpoint",
      );
    }
  }
}
