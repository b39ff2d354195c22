// Full weights as safetensors files: W + s·B·A for every adapted matrix, everything else as it was.
//
// Tensor by tensor and in chunks of rows, straight into the output file: what is in memory is a chunk,
// never a tensor list. B·A is computed on the GPU; the sum is made in f32 and rounded once.
import type { Folder } from "../base/folder.ts";
import { throwIfAborted, UserError } from "../base/error.ts";
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
import {
  isFloatTensor,
  type ModelFiles,
  type SourceTensor,
} from "../model/files/checkpoint-files.ts";
import { Checksum } from "./checksum.ts";
import { DeltaMaker } from "./delta.ts";
import { planShards } from "./shards.ts";

export interface WeightParts {
  readonly files: ModelFiles;
  /** Type of the written floats; default: each tensor's own. */
  readonly dtype: FloatDtype | undefined;
  /** 0: every tensor in a file of its own. */
  readonly maxShardBytes: number;
  /** What is added to the weights. */
  readonly merge?: MergeParts;
  readonly onProgress?: ((bytes: number, totalBytes: number) => void) | undefined;
  /** Looked at after every chunk. */
  readonly signal?: AbortSignal | undefined;
}

export interface MergeParts {
  readonly gpu: Gpu;
  readonly targets: readonly AdapterTarget[];
  readonly matrices: ReadonlyMap<string, LoraMatrices>;
  /** Modules whose weights are rounded to NF4 first, as training saw them: empty to add to the file's. */
  readonly rounded: ReadonlySet<string>;
  readonly doubleQuant: boolean;
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
export async function writeWeights(parts: WeightParts, output: Folder): Promise<WrittenTensor[]> {
  const { files, maxShardBytes, dtype, merge } = parts;
  if (merge) refuseMissingTargets(files, merge.targets);
  const tensors = [...files.tensors.values()].map((source) => ({
    source,
    name: source.name,
    shape: source.shape,
    dtype: isFloatTensor(source) ? (dtype ?? source.dtype) : source.dtype,
  }));
  const shards = planShards(tensors, maxShardBytes);
  const totalBytes = tensors.reduce(
    (sum, tensor) => sum + (tensorBytes(tensor.dtype, tensor.shape) ?? 0),
    0,
  );

  const written: WrittenTensor[] = [];
  const weightMap = new Map<string, string>();
  let doneBytes = 0;
  const merger = merge && { ...merge, maker: new DeltaMaker(merge.gpu) };
  try {
    for (const { file, tensors: own } of shards) {
      async function* content(): AsyncGenerator<Uint8Array> {
        yield safetensorsHeader(own, { format: "pt" });
        for (const tensor of own) {
          const checksum = new Checksum();
          for await (const bytes of bytesOf(
            tensor.source,
            tensor.dtype,
            merger,
            files.isQuantized === true && !tensor.source.nf4,
          )) {
            checksum.add(bytes);
            doneBytes += bytes.byteLength;
            yield bytes;
            parts.onProgress?.(doneBytes, totalBytes);
            throwIfAborted(parts.signal);
          }
          const { name, shape, dtype: type } = tensor;
          written.push({ name, file, shape, dtype: type, checksum: checksum.value });
          weightMap.set(name, file);
        }
      }
      await output.write(file, content());
    }
  } finally {
    merger?.maker.free();
  }
  if (shards.length > 1) await output.write(INDEX, encodeSafetensorsIndex(weightMap, totalBytes));
  else await output.remove(INDEX); // of an earlier merge, which would be read instead
  return written;
}

/** A tensor's bytes as they are to be written, in order. */
async function* bytesOf(
  source: SourceTensor,
  dtype: SafetensorsDtype,
  merger: (MergeParts & { readonly maker: DeltaMaker }) | undefined,
  isLeftOut: boolean,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const { name, shape } = source;
  const path = name.replace(/\.weight$/, "");
  const target = merger?.targets.find((candidate) => `${candidate.path}.weight` === name);
  const given = merger?.matrices.get(path);
  const rows = shape.length > 1 ? (shape[0] ?? 1) : 1;
  const columns = shape.reduce((product, size) => product * size, 1) / rows;
  const chunkRows = Math.max(1, Math.floor(CHUNK_BYTES / (columns * 4)));
  const isRounded = name.endsWith(".weight") && merger?.rounded.has(path) === true && !isLeftOut;
  const nf4 =
    isRounded && isFloatTensor(source)
      ? await merger.maker.quantize(source, merger.doubleQuant)
      : undefined;
  try {
    for (let row = 0; row < rows; row += chunkRows) {
      const count = Math.min(chunkRows, rows - row);
      const raw = await source.read(row * columns, (row + count) * columns);
      if (!isFloatTensor(source) || (source.dtype === dtype && !target && !nf4)) {
        yield raw;
        continue;
      }
      const values = nf4 ? await nf4.rows(row, count) : decodeFloats(raw, source.dtype);
      if (merger && target && given) {
        const delta = await merger.maker.delta(given, target, row, count);
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
    `The adapter acts on ${names}, and ${files.path} has no such weight of its own: embeddings and head are one tensor there.`,
    "Train without the head among target_modules, or keep the adapter unmerged.",
  );
}

function isFloat(dtype: SafetensorsDtype): dtype is FloatDtype {
  return dtype === "F32" || dtype === "F16" || dtype === "BF16";
}
