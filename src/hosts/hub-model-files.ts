// Which files of a folder or repo are a model or an adapter: those, and nothing else, are taken.
import { UserError } from "../base/error.ts";
import { formatBytes } from "../base/format.ts";

export interface Listed {
  /** Path from the top of the folder or repo, with "/". */
  readonly name: string;
  readonly bytes: number;
}

export interface Choice<File extends Listed> {
  readonly kind: "model" | "adapter";
  /** Inside the repo; "" or with "/" at the end. Stored names are without it. */
  readonly folder: string;
  readonly files: readonly File[];
}

const CONFIG = "config.json";
/** Of a model's weights, the form to be preferred first: the pickles are read too, by an interpreter that runs nothing. */
const FORMS = [
  {
    single: "model.safetensors",
    index: "model.safetensors.index.json",
    shard: /^(?!consolidated|adapter_).*\.safetensors$/,
  },
  {
    single: "pytorch_model.bin",
    index: "pytorch_model.bin.index.json",
    shard: /^pytorch_model.*\.bin$/,
  },
] as const;
const ADAPTER_CONFIG = "adapter_config.json";
/** PEFT's two forms, and mlx-lm's. */
const ADAPTER_WEIGHTS = ["adapter_model.safetensors", "adapter_model.bin", "adapters.safetensors"];

/** What is read beside weights, or goes along when merged weights are written. */
const SMALL_FILES = [
  /^(config|generation_config|special_tokens_map|added_tokens)\.json$/,
  /^(tokenizer|tokenizer_config|vocab)\.json$/,
  /^tokenizer\.model$/,
  /^merges\.txt$/,
  /^chat_template\.(jinja|json)$/,
  /^(configuration|modeling|tokenization)_\w+\.py$/, // never run here; transformers asks for them
  /^(LICENSE|NOTICE|USE_POLICY)(\.(txt|md))?$/i,
];
/** What Hone writes beside an adapter. */
const MANIFEST = /^training_manifest\.json$/;
/** A config of more is none; a tokenizer of 262,144 tokens has 33 MB. */
const SMALL_LIMIT_BYTES = 256 << 20;

/**
 * Chooses from a list. `path` is the file or folder that was named, "" for all of it; `place` is what messages
 * call it. Refuses what holds no model, or more than one.
 */
export function chooseFiles<File extends Listed>(
  files: readonly File[],
  path: string,
  place: string,
): Choice<File> {
  const named = files.find(({ name }) => name === path);
  if (named && isGguf(named)) return gguf(named, place);
  const folder = named ? folderOf(path) : path && `${path}/`;
  const here = files.filter(({ name }) => folderOf(name) === folder);
  if (here.length === 0 && (path !== "" || files.length === 0)) {
    throw new UserError(
      `${place} has ${path === "" ? "no files" : `no file or folder ${path}`}.`,
      "Check the name on the repo's page.",
    );
  }
  const names = new Set(here.map(({ name }) => name.slice(folder.length)));
  const weights = weightNames(names);
  if (names.has(CONFIG) && weights.length > 0) return choice("model", folder, here, weights);
  const matrices = ADAPTER_WEIGHTS.find((name) => names.has(name));
  if (names.has(ADAPTER_CONFIG) && matrices !== undefined) {
    return choice("adapter", folder, here, [ADAPTER_CONFIG, matrices]);
  }
  const ggufs = here.filter(isGguf);
  if (ggufs[0] && ggufs.length === 1) return gguf(ggufs[0], place);
  if (ggufs.length > 1) throw severalGgufs(ggufs, folder, place);
  throw nothingFound(names, files, place);
}

function folderOf(name: string): string {
  return name.slice(0, name.lastIndexOf("/") + 1);
}

/** Weights beside a config.json; none where they are in another form. */
function weightNames(names: ReadonlySet<string>): string[] {
  const form = FORMS.find(({ single, index }) => names.has(index) || names.has(single));
  if (!form) return [];
  const { single, index, shard } = form;
  if (!names.has(index)) return [single];
  const all = [...names].filter((name) => shard.test(name));
  const shards = all.filter((name) => /-\d+-of-\d+\.\w+$/.test(name));
  return [index, ...(shards.length > 0 ? shards : all)];
}

function choice<File extends Listed>(
  kind: "model" | "adapter",
  folder: string,
  here: readonly File[],
  weights: readonly string[],
): Choice<File> {
  const small = kind === "adapter" ? [...SMALL_FILES, MANIFEST] : SMALL_FILES;
  const files = here.filter(({ name, bytes }) => {
    const own = name.slice(folder.length);
    if (weights.includes(own)) return true;
    return bytes <= SMALL_LIMIT_BYTES && small.some((pattern) => pattern.test(own));
  });
  return { kind, folder, files };
}

/** The picture part of a model for pictures too (mmproj) and a matrix of importances are no models. */
function isGguf({ name }: Listed): boolean {
  return /\.gguf$/i.test(name) && !/(^|\/)(mmproj|imatrix)/i.test(name);
}

function gguf<File extends Listed>(file: File, place: string): Choice<File> {
  if (/-\d{5}-of-\d{5}\.gguf$/i.test(file.name)) {
    throw new UserError(
      `${place}: ${file.name} is one of several parts of a model.`,
      "Choose a quantization that is in one file.",
    );
  }
  return { kind: "model", folder: folderOf(file.name), files: [file] };
}

const MOST_LISTED = 8;

function severalGgufs(files: readonly Listed[], folder: string, place: string): UserError {
  const whole = files.filter(({ name }) => !/-\d{5}-of-\d{5}\.gguf$/i.test(name));
  const shown = whole
    .slice(0, MOST_LISTED)
    .map(({ name, bytes }) => `${name.slice(folder.length)} (${formatBytes(bytes)})`);
  const more = whole.length > shown.length ? ", …" : "";
  return new UserError(
    `${place} has ${files.length} GGUF files: ${shown.join(", ")}${more}.`,
    "Paste the link of the one you want, or choose that file alone.",
  );
}

function nothingFound(
  names: ReadonlySet<string>,
  files: readonly Listed[],
  place: string,
): UserError {
  const pickled = [...names].find((name) => /\.(bin|pth?|ckpt)$/.test(name));
  if (pickled !== undefined) {
    return new UserError(
      `${place} has its weights in ${pickled} alone; of Python's pickles, pytorch_model.bin and adapter_model.bin are read, each beside its config.`,
      "Choose a repo with safetensors files; a checkpoint of XTuner is converted by hone convert pth_to_hf.",
    );
  }
  const deeper = files.find(({ name }) => /\/(adapter_config|config)\.json$/.test(name));
  if (deeper && !names.has(CONFIG)) {
    const below = folderOf(deeper.name).slice(0, -1);
    return new UserError(
      `${place} has no model at its top; ${below} may be one.`,
      "Name that folder: paste its link, or choose it alone.",
    );
  }
  const lacking = names.has(ADAPTER_CONFIG)
    ? `${ADAPTER_CONFIG} and no ${ADAPTER_WEIGHTS[0]}`
    : names.has(CONFIG)
      ? `${CONFIG} and neither ${FORMS[0].single} nor ${FORMS[0].index}`
      : `no ${CONFIG}, no ${ADAPTER_CONFIG} and no GGUF file`;
  return new UserError(
    `${place} has ${lacking}.`,
    "Choose a model in Hugging Face's layout with safetensors weights, a GGUF file, or a PEFT adapter.",
  );
}
