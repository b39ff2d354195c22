// Merged weights: W + s·B·A for every adapted matrix, everything else as it was.
//
// Tensor by tensor and in chunks of rows, straight into the output file: what is in memory is a chunk,
// never a tensor list. B·A is computed on the GPU; the sum is made in f32 and rounded once.
import type { Folder } from "../base/folder.ts";
import { UserError } from "../base/error.ts";
import { decodeFloats, encodeFloats, type FloatDtype } from "../formats/float.ts";
import type { AdapterTarget } from "../formats/peft.ts";
import {
  encodeSafetensorsIndex,
  safetensorsHeader,
  type SafetensorsDtype,
  tensorBytes,
} from "../formats/safetensors.ts";
import type { Gpu } from "../gpu/device.ts";
import type { LoraMatrices } from "../model/adapter.ts";
import type { ModelFiles, TensorFile } from "../model/checkpoint-files.ts";
import { Checksum } from "./checksum.ts";
import { DeltaMaker } from "./delta.ts";
import { planShards } from "./shards.ts";

export interface MergeParts {
  readonly gpu: Gpu;
  readonly files: ModelFiles;
  readonly targets: readonly AdapterTarget[];
  readonly matrices: ReadonlyMap<string, LoraMatrices>;
  /** Type of the written floats; default: each tensor's own. */
  readonly dtype: FloatDtype | undefined;
  /** Modules whose weights are rounded to NF4 first, as training saw them: empty to add to the file's. */
  readonly rounded: ReadonlySet<string>;
  readonly doubleQuant: boolean;
  readonly maxShardBytes: number;
  readonly onProgress?: ((bytes: number, totalBytes: number) => void) | undefined;
}

export interface WrittenTensor {
  readonly name: string;
  readonly file: string;
  readonly shape: readonly number[];
  readonly dtype: SafetensorsDtype;
  readonly checksum: number;
}

const INDEX = "model.safetensors.index.json";

/** Rows are taken so many bytes of f32 at a time. */
const CHUNK_BYTES = 16 * 2 ** 20;

/** Writes the safetensors shards and their index into `output`. Returns what was written, for the check. */
export async function writeMergedWeights(
  parts: MergeParts,
  output: Folder,
): Promise<WrittenTensor[]> {
  const { files, targets, maxShardBytes, dtype } = parts;
  refuseMissingTargets(files, targets);
  const tensors = [...files.tensors.values()].map((source) => ({
    source,
    name: source.entry.name,
    shape: source.entry.shape,
    dtype: isFloat(source.entry.dtype) ? (dtype ?? source.entry.dtype) : source.entry.dtype,
  }));
  const shards = planShards(tensors, maxShardBytes);
  const totalBytes = tensors.reduce(
    (sum, tensor) => sum + (tensorBytes(tensor.dtype, tensor.shape) ?? 0),
    0,
  );

  const written: WrittenTensor[] = [];
  const weightMap = new Map<string, string>();
  let doneBytes = 0;
  const maker = new DeltaMaker(parts.gpu);
  try {
    for (const { file, tensors: own } of shards) {
      async function* content(): AsyncGenerator<Uint8Array> {
        yield safetensorsHeader(own, { format: "pt" });
        for (const tensor of own) {
          const checksum = new Checksum();
          for await (const bytes of mergedBytes(parts, maker, tensor.source, tensor.dtype)) {
            checksum.add(bytes);
            doneBytes += bytes.byteLength;
            yield bytes;
            parts.onProgress?.(doneBytes, totalBytes);
          }
          const { name, shape, dtype: type } = tensor;
          written.push({ name, file, shape, dtype: type, checksum: checksum.value });
          weightMap.set(name, file);
        }
      }
      await output.write(file, content());
    }
  } finally {
    maker.free();
  }
  if (shards.length > 1) await output.write(INDEX, encodeSafetensorsIndex(weightMap, totalBytes));
  else await output.remove(INDEX); // of an earlier merge, which would be read instead
  return written;
}

/** A tensor's bytes as they are to be written, in order. */
async function* mergedBytes(
  parts: MergeParts,
  maker: DeltaMaker,
  source: TensorFile,
  dtype: SafetensorsDtype,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const { files, targets, matrices, rounded, doubleQuant } = parts;
  const { entry, file } = source;
  const path = entry.name.replace(/\.weight$/, "");
  const target = targets.find((candidate) => candidate.path === path);
  const given = matrices.get(path);
  const columns = entry.shape.at(-1) ?? 1;
  const rows = entry.shape.length > 1 ? (entry.shape[0] ?? 1) : 1;
  const rowBytes = (entry.end - entry.start) / rows;
  const chunkRows = Math.max(1, Math.floor(CHUNK_BYTES / (columns * 4)));
  const nf4 = rounded.has(path)
    ? await maker.quantize(files.folder, source, doubleQuant)
    : undefined;
  try {
    for (let row = 0; row < rows; row += chunkRows) {
      const count = Math.min(chunkRows, rows - row);
      const start = entry.start + row * rowBytes;
      const raw = await files.folder.read(file, start, start + count * rowBytes);
      if (!isFloat(entry.dtype) || (entry.dtype === dtype && !target && !nf4)) {
        yield raw;
        continue;
      }
      const values = nf4 ? await nf4.rows(row, count) : decodeFloats(raw, entry.dtype);
      if (target && given) {
        const delta = await maker.delta(given, target, row, count);
        for (let i = 0; i < values.length; i++) {
          values[i] = (values[i] ?? 0) + target.scaling * (delta[i] ?? 0);
        }
      }
      if (isFloat(dtype)) yield encodeFloats(values, dtype);
    }
  } finally {
    nf4?.free();
  }
}

function refuseMissingTargets(files: ModelFiles, targets: readonly AdapterTarget[]): void {
  const missing = targets.filter(({ path }) => !files.tensors.has(`${path}.weight`));
  if (missing.length === 0) return;
  const names = missing.map(({ path }) => path).join(", ");
  throw new UserError(
    `The adapter acts on ${names}, and ${files.folder.path} has no such weight of its own: embeddings and head are one tensor there.`,
    "Train without the head among target_modules, or keep the adapter unmerged.",
  );
}

function isFloat(dtype: SafetensorsDtype): dtype is FloatDtype {
  return dtype === "F32" || dtype === "F16" || dtype === "BF16";
}
