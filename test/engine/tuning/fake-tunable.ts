// A kernel with variants of every kind there is to find by trying: faster, slower, wrong in five ways.
import type { Gpu } from "../../../src/gpu/device.ts";
import type { Shader } from "../../../src/gpu/kernel.ts";
import { type Recorder } from "../../../src/gpu/program.ts";
import { type StoredTensor, write } from "../../../src/gpu/tensor.ts";
import type { Tunable, TrialSizes } from "../../../src/kernels/tunable.ts";

const header = `
struct Params { count: u32, repeats: u32, zero: f32, offset: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> runs: array<f32>;
`;

const body = `
@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.count) { return; }
  var sum = 0.0;
  for (var i = 0u; i < params.repeats; i++) { sum += x[(id.x + i) % params.count] * params.zero + x[id.x]; }
  runs[id.x] += 1.0;
  var value = sum / f32(params.repeats);
  if (NAN) { value = value + params.zero / params.zero; }
  if (OFFSET) { value += params.offset; }
  if (UNSTEADY) { value += runs[id.x] * params.offset * 1e-4; }
  y[id.x] = value;
}
`;

const bindings = { x: "read", y: "read_write", runs: "read_write" } as const;
const params = { count: "u32", repeats: "u32", zero: "f32", offset: "f32" } as const;
const sound = { label: "fake", source: [header, body], bindings, params } satisfies Shader<
  string,
  string
>;
const broken = { ...sound, label: "broken", source: [header, "fn nothing() { return 1; }"] };

/** The grid of the variant "hangs", by which a test can tell it as it runs. */
export const HANGING_GRID = 17;

/** Elements: small, and the work is in the repeats. */
const COUNT = 1024;

interface Kind {
  readonly repeats: number;
  readonly left?: number;
  readonly shader?: typeof sound;
  readonly constants?: Readonly<Record<string, boolean>>;
  /** More threads than WebGPU allows: the call itself is refused. */
  readonly grid?: number;
}

const KINDS: Readonly<Record<string, Kind>> = {
  plain: { repeats: 2000 },
  fast: { repeats: 20 },
  same: { repeats: 2000 },
  "matrix fast": { repeats: 20 },
  slow: { repeats: 8000 },
  wrong: { repeats: 1, constants: { OFFSET: true } },
  nan: { repeats: 1, constants: { NAN: true } },
  gap: { repeats: 1, left: 3 },
  broken: { repeats: 1, shader: broken },
  unsteady: { repeats: 2, constants: { UNSTEADY: true } },
  hangs: { repeats: 20, grid: HANGING_GRID },
  refused: { repeats: 1, grid: 70_000 },
};

export const SIZES: TrialSizes = {
  hidden: 64,
  intermediate: 128,
  heads: 4,
  kvHeads: 2,
  headSize: 16,
  rank: 8,
  tokens: 32,
  act: "f32",
};

/** A kernel that offers those variants, the first being the one to be checked against. */
export function fakeTunable(
  names: readonly string[],
  { slot = "fake", use, onTrial }: FakeOptions = {},
): Tunable {
  return {
    slot,
    ...(use && { use }),
    candidates: () => names,
    trial(gpu) {
      onTrial?.(gpu);
      const [x, y, runs] = ["x", "y", "runs"].map((label) =>
        gpu.allocate(`${slot}.${label}`, "f32", [COUNT]),
      ) as [StoredTensor, StoredTensor, StoredTensor];
      write(
        gpu,
        x,
        Float32Array.from({ length: COUNT }, (_, i) => Math.sin(i)),
      );
      return {
        tensors: [x, y, runs],
        results: [y],
        tolerance: 1e-3,
        record: (recorder) => record(recorder, slot, { x, y, runs }),
      };
    },
  };
}

interface FakeOptions {
  readonly slot?: string;
  readonly use?: "training" | "generation";
  readonly onTrial?: (gpu: Gpu) => void;
}

function record(
  recorder: Recorder,
  slot: string,
  buffers: { x: StoredTensor; y: StoredTensor; runs: StoredTensor },
): void {
  const kind = KINDS[recorder.choice(slot) ?? ""];
  if (!kind) throw new Error(`no such variant: ${recorder.choice(slot)}`);
  recorder.dispatch(kind.shader ?? sound, {
    entry: "forward",
    buffers,
    constants: { NAN: false, OFFSET: false, UNSTEADY: false, ...kind.constants },
    params: { count: COUNT - (kind.left ?? 0), repeats: kind.repeats, zero: 0, offset: 1 },
    grid: [kind.grid ?? COUNT / 64],
  });
}
