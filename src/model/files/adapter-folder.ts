// An adapter's folder in whatever form it is: PEFT's, with safetensors or with the pickle that XTuner and PEFT
// wrote until 2024, or mlx-lm's. All come out as PEFT's config and tensors under PEFT's names.
import type { Folder } from "../../base/folder.ts";
import { UserError } from "../../base/error.ts";
import { parseJsonObject } from "../../formats/json.ts";
import { isMlxAdapter, mlxAdapterConfig, mlxTensorName } from "../../formats/mlx-adapter.ts";
import { type AdapterConfig, parseAdapterConfig } from "../../formats/peft.ts";
import { openTensorFile, sizeInBytes, type SourceTensor } from "./checkpoint-files.ts";

export const ADAPTER_CONFIG = "adapter_config.json";
export const ADAPTER_WEIGHTS = "adapter_model.safetensors";
const PICKLED_WEIGHTS = "adapter_model.bin";
const MLX_WEIGHTS = "adapters.safetensors";

export interface AdapterFolder {
  readonly config: AdapterConfig;
  /** Of the config and of the weights, for errors. */
  readonly configPlace: string;
  readonly place: string;
  /** Under PEFT's names, or those that `pairAdapterTensors` takes for them. */
  readonly tensors: readonly SourceTensor[];
}

/** Opens both files; of the weights no more than what says where each tensor is. */
export async function openAdapterFolder(folder: Folder): Promise<AdapterFolder> {
  const configPlace = `${folder.path}/${ADAPTER_CONFIG}`;
  if ((await folder.size(ADAPTER_CONFIG)) === undefined) throw missing(folder, ADAPTER_CONFIG);
  const text = await folder.readText(ADAPTER_CONFIG);
  const isMlx = isMlxAdapter(parseJsonObject(text, configPlace));
  const file = await findWeights(folder, isMlx);
  const place = `${folder.path}/${file}`;
  const found = await openTensorFile(folder, file);
  if (!isMlx) {
    return { config: parseAdapterConfig(text, configPlace), configPlace, place, tensors: found };
  }
  const tensors = found.map((tensor) => transposed(tensor, mlxTensorName(tensor.name, place)));
  const config = mlxAdapterConfig(text, configPlace, tensors);
  return { config, configPlace, place, tensors };
}

/** What the text of an adapter_config.json calls the base. */
export function baseModelOf(text: string, place: string): string | null {
  const json = parseJsonObject(text, place);
  const isMlx = isMlxAdapter(json);
  return (isMlx ? mlxAdapterConfig(text, place, []) : parseAdapterConfig(text, place)).baseModel;
}

async function findWeights(folder: Folder, isMlx: boolean): Promise<string> {
  const names = isMlx ? [MLX_WEIGHTS] : [ADAPTER_WEIGHTS, PICKLED_WEIGHTS];
  for (const name of names) if ((await folder.size(name)) !== undefined) return name;
  throw missing(folder, names.join(" nor "));
}

function missing(folder: Folder, names: string): UserError {
  return new UserError(
    `${folder.path} has no ${names}.`,
    `Give the folder of a PEFT adapter: ${ADAPTER_CONFIG} and ${ADAPTER_WEIGHTS} or ${PICKLED_WEIGHTS}.`,
  );
}

/** A matrix with its rows as columns, under another name. It is read whole: adapters are small. */
function transposed(tensor: SourceTensor, name: string): SourceTensor {
  const [rows = 0, columns = 0] = tensor.shape;
  if (tensor.shape.length !== 2) {
    throw new UserError(
      `${tensor.place}: ${tensor.name} is [${tensor.shape.join(", ")}], which is no matrix of an adapter.`,
      "Use an adapter of linear layers.",
    );
  }
  const { dtype, place } = tensor;
  const size = sizeInBytes(dtype, 1);
  return {
    name,
    dtype,
    place,
    shape: [columns, rows],
    async read(start, end) {
      const source = await tensor.read(0, rows * columns);
      const out = new Uint8Array((end - start) * size);
      for (let i = start; i < end; i++) {
        const from = (i % rows) * columns + Math.floor(i / rows);
        out.set(source.subarray(from * size, (from + 1) * size), (i - start) * size);
      }
      return out;
    },
  };
}
