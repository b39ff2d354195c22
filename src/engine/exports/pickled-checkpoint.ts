// XTuner's checkpoints, iter_N.pth, as PEFT adapters: a change of names and of type, without the base model.
//
// XTuner itself builds the model anew from the config and loads what fits, so that a config of another run
// gives an untrained adapter without a word. Here every matrix must have its partner, its rank and its layer.
import type { Folder } from "../../base/folder.ts";
import { UserError } from "../../base/error.ts";
import type { ConvertCheckpointRequest, ExportSummary } from "../../engine.ts";
import { ADAPTER_DEFAULTS, type AdapterConfig, selectTargets } from "../../formats/peft.ts";
import { type AdapterPair, pairAdapterTensors } from "../../formats/peft-tensors.ts";
import { openTorchFile, type TorchFile } from "../../formats/torch-file.ts";
import { modulesOf } from "../../model/files/adapter-files.ts";
import { ADAPTER_CONFIG } from "../../model/files/adapter-folder.ts";
import { parseArchitecture } from "../../model/architecture.ts";
import type { SourceTensor } from "../../model/files/checkpoint-files.ts";
import { allLinears, type LinearShape } from "../../model/linears.ts";
import { modelCard } from "./adapter-companions.ts";
import { MANIFEST } from "../model-folder.ts";
import { filesOf } from "./model-output.ts";
import { writeAdapter } from "./write-adapter.ts";

/** What DeepSpeed names the model's file in the folder that iter_N.pth then is. */
const DEEPSPEED_FILE = "mp_rank_00_model_states.pt";

/** The file with the tensors: `name` itself, or in the folder of that name that DeepSpeed writes. */
async function findCheckpointFile(folder: Folder, name: string): Promise<string | undefined> {
  for (const file of [name, `${name}/${DEEPSPEED_FILE}`]) {
    if ((await folder.size(file)) !== undefined) return file;
  }
  return undefined;
}

/** The text of the config that the run had, as MMEngine keeps it in its checkpoints. */
export async function readCheckpointConfig(
  folder: Folder,
  name: string,
): Promise<string | undefined> {
  const { meta } = await openCheckpoint(folder, name);
  const text = meta?.get("cfg");
  return typeof text === "string" && text.trim() !== "" ? text : undefined;
}

/** Writes PEFT's folder. Of the base model, where it is at hand, only its config.json is read. */
export async function convertCheckpoint(request: ConvertCheckpointRequest): Promise<ExportSummary> {
  const { output, config } = request;
  const { tensors, place } = await openCheckpoint(request.folder, request.name);
  const matrices = [...tensors.values()].map((tensor) => ({ ...tensor, place }));
  refuseOtherModels(matrices, place);
  const modules = readModules(matrices, place);
  const adapter = adapterConfigOf(request, modules, place);
  const isAll = await checkModules(request.model, adapter, modules, place);
  const check = await writeAdapter(
    { config: adapter, tensors: matrices, source: place, dtype: request.isFloat32 ? "F32" : "F16" },
    output,
  );
  if (config) {
    const template = config.prompt_template;
    const manifest = {
      generator: "hone",
      prompt_template: template,
      system: config.system,
      config,
    };
    await output.write(MANIFEST, `${JSON.stringify(manifest, null, 2)}\n`);
    const names = [adapter.targetModules].flat();
    const card = modelCard(
      { config, chosen: { name: template }, adapterConfig: adapter },
      names,
      "Trained with XTuner, converted by Hone.",
    );
    await output.write("README.md", card);
  }
  return {
    files: await filesOf(output),
    check: `${check}; ${isAll ? "they are all that the base model's config calls for" : "every layer has the same ones"}`,
  };
}

async function openCheckpoint(
  folder: Folder,
  name: string,
): Promise<TorchFile & { readonly place: string }> {
  const file = await findCheckpointFile(folder, name);
  const place = `${folder.path}/${file ?? name}`;
  const bytes = file === undefined ? undefined : await folder.size(file);
  if (file === undefined || bytes === undefined) {
    throw new UserError(
      `${place} is no checkpoint's file, and no folder of DeepSpeed with ${DEEPSPEED_FILE} (ZeRO 1 and 2).`,
      "Name an iter_N.pth that XTuner wrote; of ZeRO 3, the file that DeepSpeed's zero_to_fp32.py makes of it.",
    );
  }
  return {
    ...(await openTorchFile((start, end) => folder.read(file, start, end), bytes, place)),
    place,
  };
}

/** What an XTuner checkpoint can hold besides an adapter for a language model. */
function refuseOtherModels(tensors: readonly SourceTensor[], place: string): void {
  const [first] = tensors;
  if (!first) {
    throw new UserError(
      `${place} holds no tensors under state_dict.`,
      "Name an iter_N.pth that XTuner wrote.",
    );
  }
  const picture = tensors.find(({ name }) => /^(visual_encoder|projector)\./.test(name));
  if (picture) {
    throw new UserError(
      `${place} is of a LLaVA model: it holds ${picture.name}. Hone trains and reads language models alone.`,
      "Convert it with XTuner.",
    );
  }
  if (tensors.some(({ name }) => /\.lora_/.test(name))) return;
  throw new UserError(
    `${place} holds no LoRA matrices but whole weights (${first.name}, …): it is of full fine-tuning.`,
    "Convert it with XTuner, and use the folder that comes out as a model.",
  );
}

interface AdaptedModule {
  readonly path: string;
  readonly rank: number;
  readonly inputs: number;
  readonly rows: number;
}

/** The modules that the file has matrices of. Refuses what is no whole pair, or pairs that do not fit. */
function readModules(tensors: readonly SourceTensor[], place: string): AdaptedModule[] {
  const shapes = new Map(tensors.map(({ name, shape }) => [name, shape]));
  const pairs = pairAdapterTensors(shapes.keys(), place);
  const modules = pairs.map((pair) => moduleOf(pair, shapes, place));
  const [first] = modules;
  const other = modules.find(({ rank }) => rank !== first?.rank);
  if (first && other) {
    throw new UserError(
      `${place}: the rank of ${first.path} is ${first.rank}, and of ${other.path} ${other.rank}.`,
      "Convert it with XTuner: ranks that differ are set in a way that Hone's config cannot say.",
    );
  }
  refuseMissingLayers(modules, place);
  return modules;
}

function moduleOf(
  { modulePath: path, lora_A, lora_B }: AdapterPair,
  shapes: ReadonlyMap<string, readonly number[]>,
  place: string,
): AdaptedModule {
  const a = shapes.get(lora_A) ?? [];
  const b = shapes.get(lora_B) ?? [];
  const [rank = 0, inputs = 0] = a;
  const [rows = 0] = b;
  if (a.length === 2 && b.length === 2 && rank > 0 && b[1] === rank) {
    return { path, rank, inputs, rows };
  }
  throw new UserError(
    `${place}: A of ${path} is [${a.join(", ")}] and B [${b.join(", ")}], which are no pair.`,
    "Use another checkpoint of the run.",
  );
}

/** Each layer up to the last must have the modules that the others have, in the same shapes. */
function refuseMissingLayers(modules: readonly AdaptedModule[], place: string): void {
  const layers = new Map<string, Map<number, Map<string, AdaptedModule>>>();
  for (const module of modules) {
    const [, list, index, name] = /^(.*?)\.(\d+)\.(.+)$/.exec(module.path) ?? [];
    if (list === undefined || name === undefined) continue; // the head, which is in no layer
    const own = layers.get(list) ?? new Map<number, Map<string, AdaptedModule>>();
    layers.set(list, own);
    const layer = own.get(Number(index)) ?? new Map<string, AdaptedModule>();
    own.set(Number(index), layer.set(name, module));
  }
  for (const [list, own] of layers) {
    const all = new Map([...own.values()].flatMap((layer) => [...layer]));
    const last = Math.max(...own.keys());
    for (let index = 0; index <= last; index++) {
      for (const [name, { inputs, rows }] of all) {
        const found = own.get(index)?.get(name);
        if (found?.inputs === inputs && found.rows === rows) continue;
        const module = `${list}.${index}.${name}`;
        throw new UserError(
          found
            ? `${place} has [${found.rows}, ${found.inputs}] for ${module}, and other layers have [${rows}, ${inputs}].`
            : `${place} has no matrices for ${module}, and other layers have.`,
          "Use another checkpoint of the run; this one is not whole.",
        );
      }
    }
  }
}

function adapterConfigOf(
  { config, base, alpha, dropout }: ConvertCheckpointRequest,
  modules: readonly AdaptedModule[],
  place: string,
): AdapterConfig {
  const lora = config?.lora;
  const rank = modules[0]?.rank ?? 0;
  const usedAlpha = alpha ?? lora?.lora_alpha;
  if (usedAlpha === undefined) {
    throw new UserError(
      `${place} does not say its run's lora_alpha, without which the adapter has no scale.`,
      "Name the run's config before the checkpoint, or give --alpha.",
    );
  }
  if (lora && lora.r !== rank) {
    throw new UserError(
      `The matrices in ${place} have rank ${rank}, and the config says r=${lora.r}.`,
      "Name the config that the run had; XTuner leaves a copy in its work directory.",
    );
  }
  const found = [...new Set(modules.map(({ path }) => path.split(".").at(-1) ?? path))].toSorted();
  const wanted = lora?.target_modules;
  if (Array.isArray(wanted)) refuseOtherTargets(wanted, modules, place);
  return {
    ...ADAPTER_DEFAULTS,
    baseModel: base?.name ?? config?.model ?? null,
    revision: base?.revision ?? null,
    rank,
    alpha: usedAlpha,
    dropout: dropout ?? lora?.lora_dropout ?? 0,
    useRslora: lora?.use_rslora ?? false,
    targetModules: found,
  };
}

/** The modules must be those that the config names, all of them and no others. */
function refuseOtherTargets(
  wanted: readonly string[],
  modules: readonly AdaptedModule[],
  place: string,
): void {
  const missing = wanted.find((name) => !modules.some(({ path }) => isOf(path, name)));
  const extra = modules.find(({ path }) => !wanted.some((name) => isOf(path, name)));
  if (missing === undefined && !extra) return;
  throw new UserError(
    missing === undefined
      ? `${place} has matrices for ${extra?.path}, which is none of the config's target_modules (${wanted.join(", ")}).`
      : `${place} has no matrices for ${missing}, which the config's target_modules name.`,
    "Name the config that the run had; XTuner leaves a copy in its work directory.",
  );
}

/** As PEFT matches the names in a list. */
function isOf(path: string, name: string): boolean {
  return path === name || path.endsWith(`.${name}`);
}

/** Whether the base is at hand and calls for these modules, in these shapes, and no others of their names. */
async function checkModules(
  model: Folder | undefined,
  adapter: AdapterConfig,
  modules: readonly AdaptedModule[],
  place: string,
): Promise<boolean> {
  const linears = model && (await linearsOf(model));
  if (!model || !linears) return false;
  const found = new Map(modules.map((module) => [module.path, module]));
  const targets = selectTargets(adapter, modulesOf(linears), ADAPTER_CONFIG);
  const sizes = new Map(
    linears.flatMap(({ inputs, segments }) =>
      segments.map(({ path, rows }) => [path, `[${rows}, ${inputs}]`] as const),
    ),
  );
  const remedy = "Name the config whose model the run had as its base.";
  for (const { path } of targets) {
    const module = found.get(path);
    const shape = module && `[${module.rows}, ${module.inputs}]`;
    if (shape === sizes.get(path)) continue;
    throw new UserError(
      `${place} has ${shape ?? "no matrices"} for ${path}, and ${model.path} calls for ${sizes.get(path)}.`,
      remedy,
    );
  }
  if (targets.length === modules.length) return true;
  const extra = modules.find(({ path }) => !sizes.has(path));
  throw new UserError(
    `${place} has matrices for ${extra?.path}, which ${model.path} lacks.`,
    remedy,
  );
}

/** Of a model that Hone computes; undefined of any other, which changes nothing in the file. */
async function linearsOf(model: Folder): Promise<LinearShape[] | undefined> {
  const place = `${model.path}/config.json`;
  if ((await model.size("config.json")) === undefined) return undefined;
  try {
    return allLinears(parseArchitecture(await model.readText("config.json"), place));
  } catch (error) {
    if (error instanceof UserError) return undefined;
    throw error;
  }
}
