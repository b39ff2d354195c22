// An InternLM2 model, and an adapter for it, as a Llama's: the same function under names that every
// program knows. The fused wqkv comes apart into q, k and v, whose rows lie interleaved in it.
//
// Source of the mapping: InternLM `tools/convert2llama.py`.
import { invariant, UserError } from "../base/error.ts";
import type { AdapterTarget } from "../formats/peft.ts";
import type { JsonObject } from "../formats/json.ts";
import type { LoraMatrices } from "../model/adapter.ts";
import type { Architecture } from "../model/architecture.ts";
import { attentionLayout } from "../model/block.ts";
import {
  type ModelFiles,
  sizeInBytes,
  type SourceTensor,
} from "../model/files/checkpoint-files.ts";
import { FAMILIES } from "../model/families.ts";
import { allLinears, type LinearShape, type Segment } from "../model/linears.ts";

/** Rows [from, from + rows) of a matrix. */
interface Run {
  readonly from: number;
  readonly rows: number;
}

/** One module of the Llama and the rows of the other's module that it is made of, in order. */
interface Renamed {
  readonly from: string;
  readonly to: string;
  readonly runs: readonly Run[];
}

/** The model with the names of a Llama. */
export function asLlama(architecture: Architecture, place: string): Architecture {
  const llama = FAMILIES["llama"];
  invariant(llama !== undefined, () => "there is no llama among the families");
  const { family, biased } = architecture;
  if (family.modelType === "internlm2") return { ...architecture, family: llama, biased };
  throw new UserError(
    `${place}: model_type is "${family.modelType}"; only internlm2 is written in the form of a Llama.`,
    family.modelType === "llama" ? "It is one already." : "Keep it in its own form.",
  );
}

/** config.json of the Llama. */
export function llamaConfig(internlm2: JsonObject): JsonObject {
  const { auto_map: _, quantization_config: __, bias, ...config } = internlm2;
  return {
    ...config,
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    attention_bias: bias !== false,
    mlp_bias: false,
  };
}

/** The same weights under a Llama's names. */
export function llamaFiles(files: ModelFiles, architecture: Architecture): ModelFiles {
  const llama = asLlama(architecture, files.path);
  const tensors = new Map<string, SourceTensor>();
  const add = (from: string, to: string, runs?: readonly Run[]) => {
    const source = files.tensors.get(from);
    if (source) tensors.set(to, runs ? gatherRows(source, to, runs) : { ...source, name: to });
  };
  const own = architecture.family;
  const theirs = llama.family;
  add(`${own.embedding}.weight`, `${theirs.embedding}.weight`);
  add(`${own.finalNorm}.weight`, `${theirs.finalNorm}.weight`);
  for (let layer = 0; layer < architecture.layers; layer++) {
    for (const norm of ["attention", "mlp"] as const) {
      add(
        `${own.layerPrefix(layer)}.${own.norms[norm]}.weight`,
        `${theirs.layerPrefix(layer)}.${theirs.norms[norm]}.weight`,
      );
    }
  }
  for (const { from, to, runs } of renamedModules(architecture, llama)) {
    for (const part of ["weight", "bias"]) add(`${from}.${part}`, `${to}.${part}`, runs);
  }
  return { ...files, tensors };
}

/** The same adapter under a Llama's names: q, k and v get A whole, and their own rows of B. */
export function llamaAdapter(
  architecture: Architecture,
  targets: readonly AdapterTarget[],
  matrices: ReadonlyMap<string, LoraMatrices>,
  place: string,
): { targets: AdapterTarget[]; matrices: Map<string, LoraMatrices> } {
  const modules = renamedModules(architecture, asLlama(architecture, place));
  const renamed = targets.flatMap((target) =>
    modules
      .filter(({ from }) => from === target.path)
      .map(({ to, runs }) => {
        const given = matrices.get(target.path);
        invariant(given !== undefined, () => `no matrices for ${target.path}`);
        const b = runs.map(({ from, rows }) =>
          given.b.subarray(from * target.rank, (from + rows) * target.rank),
        );
        return { target: { ...target, path: to }, matrices: { a: given.a, b: joined(b) } };
      }),
  );
  return {
    targets: renamed.map(({ target }) => target),
    matrices: new Map(renamed.map(({ target, matrices: own }) => [target.path, own])),
  };
}

function renamedModules(own: Architecture, llama: Architecture): Renamed[] {
  const theirs = allLinears(llama);
  return allLinears(own).flatMap((linear, index) => renamedLinear(own, linear, theirs[index]));
}

function renamedLinear(
  architecture: Architecture,
  { segments, outputs, label }: LinearShape,
  theirs: LinearShape | undefined,
): Renamed[] {
  invariant(theirs?.label === label, () => `${label} has no counterpart`);
  const [only] = segments;
  if (segments.length === theirs.segments.length) {
    return segments.map(({ path, rows }, index) => ({
      from: path,
      to: segmentAt(theirs, index).path,
      runs: [{ from: 0, rows }],
    }));
  }
  invariant(only?.rows === outputs, () => `${label} comes apart in a way nobody has said`);
  return splitHeads(architecture).map((runs, index) => ({
    from: only.path,
    to: segmentAt(theirs, index).path,
    runs,
  }));
}

function segmentAt({ segments, label }: LinearShape, index: number): Segment {
  const segment = segments[index];
  invariant(segment !== undefined, () => `${label} has no segment ${index}`);
  return segment;
}

/** Where the rows of queries, keys and values lie in the fused matrix, head by head. */
function splitHeads(architecture: Architecture): [Run[], Run[], Run[]] {
  const layout = attentionLayout(architecture);
  const { heads, kvHeads, headSize: rows, qGroupStride, kBase, vBase, kStride } = layout;
  const group = heads / kvHeads;
  const each = (count: number, from: (head: number) => number): Run[] =>
    Array.from({ length: count }, (_, head) => ({ from: from(head), rows }));
  return [
    each(heads, (head) => Math.floor(head / group) * qGroupStride + (head % group) * rows),
    each(kvHeads, (head) => kBase + head * kStride),
    each(kvHeads, (head) => vBase + head * kStride),
  ];
}

/** Rows of a tensor, one run after the other, as a tensor of their own. */
function gatherRows(source: SourceTensor, name: string, runs: readonly Run[]): SourceTensor {
  const { dtype, place, shape } = source;
  const [, ...rest] = shape;
  const columns = rest.reduce((product, size) => product * size, 1);
  const rows = runs.reduce((sum, run) => sum + run.rows, 0);
  return {
    name,
    dtype,
    place,
    shape: [rows, ...rest],
    async read(start, end) {
      const bytes = new Uint8Array(sizeInBytes(dtype, end - start));
      let runStart = 0;
      for (const run of runs) {
        const runEnd = runStart + run.rows * columns;
        const low = Math.max(start, runStart);
        const high = Math.min(end, runEnd);
        if (low < high) {
          const first = run.from * columns + (low - runStart);
          const part = await source.read(first, first + (high - low));
          bytes.set(part, sizeInBytes(dtype, low - start));
        }
        runStart = runEnd;
      }
      return bytes;
    },
  };
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
