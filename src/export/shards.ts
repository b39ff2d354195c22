// Which tensor goes into which file of a model, by Hugging Face's names and limits.
import { compareTensors, tensorBytes, type TensorShape } from "../formats/safetensors.ts";

export interface Shard<T extends TensorShape> {
  readonly file: string;
  readonly tensors: readonly T[];
}

/**
 * Fills files up to `maxShardBytes` in the order of the tensors' names. A single tensor above the limit
 * gets a file of its own; with a limit of 0 every tensor does. One file is called model.safetensors.
 */
export function planShards<T extends TensorShape>(
  tensors: readonly T[],
  maxShardBytes: number,
): Shard<T>[] {
  const groups: T[][] = [];
  let used = Number.POSITIVE_INFINITY;
  for (const tensor of tensors.toSorted((a, b) => byName.compare(a.name, b.name))) {
    const bytes = tensorBytes(tensor.dtype, tensor.shape) ?? 0;
    if (used + bytes > maxShardBytes || maxShardBytes === 0) {
      groups.push([]);
      used = 0;
    }
    groups.at(-1)?.push(tensor);
    used += bytes;
  }
  return groups.map((own, index) => ({
    file:
      groups.length === 1
        ? "model.safetensors"
        : `model-${number(index + 1)}-of-${number(groups.length)}.safetensors`,
    tensors: own.toSorted(compareTensors),
  }));
}

function number(value: number): string {
  return String(value).padStart(5, "0");
}

// layers.2 before layers.10, so that a shard holds neighboring layers.
const byName = new Intl.Collator("en", { numeric: true });
