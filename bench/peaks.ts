// What the adapter can do at its best: the speed of copies, and of its best product of large square matrices.
// Against these two the benchmark holds every kernel.
import { createRandom } from "../src/base/random.ts";
import { decodeF16, encodeF16 } from "../src/formats/float.ts";
import type { Choices } from "../src/gpu/choices.ts";
import type { Gpu } from "../src/gpu/device.ts";
import { foldGrid, type Shader, workgroups } from "../src/gpu/kernel.ts";
import { Recorder } from "../src/gpu/program.ts";
import { StepScalars } from "../src/gpu/step-scalars.ts";
import { read, type StoredTensor, write } from "../src/gpu/tensor.ts";
import { Workspace } from "../src/gpu/workspace.ts";
import { matmulForward } from "../src/kernels/matmul.ts";
import { isRisky } from "../src/kernels/tunable.ts";
import { TUNABLES } from "../src/kernels/tunables.ts";
import gridLib from "../shaders/lib/grid.wgsl?raw";
import copyShader from "./copy.wgsl?raw";

export interface GemmPeak {
  readonly act: "f32" | "f16";
  /** Rows, columns and depth. */
  readonly size: number;
  /** The variant that was fastest. */
  readonly variant: string;
  readonly gflops: number;
  /** All that were tried, with the reason where one failed. */
  readonly tried: readonly { name: string; gflops?: number; problem?: string }[];
}

export interface Peaks {
  /** Bytes read and written a second / 1e9: of a copy between buffers, and by a shader. */
  readonly copyGigabytes: number;
  readonly shaderGigabytes: number;
  /** The larger of the two. */
  readonly gigabytes: number;
  /** f32, and f16 where the adapter has it. */
  readonly gemm: readonly GemmPeak[];
}

const COPY: Shader<"source" | "out", "count"> = {
  label: "copy",
  source: [gridLib, copyShader],
  bindings: { source: "read", out: "read_write" },
  params: { count: "u32" },
};

/** With `isCautious`, products that a driver may break over are not tried. */
export async function measurePeaks(gpu: Gpu, isCautious = false): Promise<Peaks> {
  const isSoftware = gpu.info.isFallbackAdapter;
  // Larger than any cache.
  const bytes = Math.min(gpu.maxTensorBytes, (isSoftware ? 32 : 512) * 2 ** 20);
  const { copyGigabytes, shaderGigabytes } = await measureCopies(gpu, bytes);
  const gemm: GemmPeak[] = [];
  for (const act of gpu.hasF16 ? (["f32", "f16"] as const) : (["f32"] as const)) {
    gemm.push(await measureGemm(gpu, act, isCautious));
  }
  return {
    copyGigabytes,
    shaderGigabytes,
    gigabytes: Math.max(copyGigabytes, shaderGigabytes),
    gemm,
  };
}

/** Of two measurements on one adapter, the faster of each kind. */
export function bestOf(a: Peaks, b: Peaks): Peaks {
  return {
    copyGigabytes: Math.max(a.copyGigabytes, b.copyGigabytes),
    shaderGigabytes: Math.max(a.shaderGigabytes, b.shaderGigabytes),
    gigabytes: Math.max(a.gigabytes, b.gigabytes),
    gemm: a.gemm.map((peak) => {
      const other = b.gemm.find(({ act }) => act === peak.act);
      return other && other.gflops > peak.gflops ? other : peak;
    }),
  };
}

async function measureCopies(gpu: Gpu, bytes: number) {
  const source = gpu.allocate("copy.source", "f32", [bytes / 4]);
  const out = gpu.allocate("copy.out", "f32", [bytes / 4]);
  try {
    const copySeconds = await timeRuns(gpu, () => {
      const encoder = gpu.device.createCommandEncoder({ label: "copy" });
      encoder.copyBufferToBuffer(source.at.buffer, 0, out.at.buffer, 0, bytes);
      gpu.device.queue.submit([encoder.finish()]);
    });
    const count = bytes / 16;
    const shaderSeconds = await timeRecorded(gpu, {}, (recorder) => {
      recorder.dispatch(COPY, {
        entry: "copy",
        buffers: { source, out },
        params: { count },
        grid: foldGrid(workgroups(count, 256)),
      });
    });
    const rate = (seconds: number) => (2 * bytes) / seconds / 1e9;
    return { copyGigabytes: rate(copySeconds), shaderGigabytes: rate(shaderSeconds) };
  } finally {
    gpu.free(source);
    gpu.free(out);
  }
}

const UNTRIED = "the one used untried";

/** Seconds that a product may take to be large enough; and the largest that is tried. */
const GEMM_SECONDS = 0.004;
const LARGEST = 4096;

async function measureGemm(gpu: Gpu, act: "f32" | "f16", isCautious: boolean): Promise<GemmPeak> {
  const slot = `matmul.${act}.forward`;
  let size = 128;
  for (;;) {
    const { seconds } = await timeGemm(gpu, act, size, {});
    const fits = (2 * size) ** 2 * 4 <= gpu.maxTensorBytes;
    if (seconds > GEMM_SECONDS || !fits || size === LARGEST) break;
    size *= 2;
  }
  const sizes = {
    hidden: size,
    intermediate: size,
    heads: size / 64,
    kvHeads: size / 64,
    headSize: 64,
    rank: 0,
    tokens: size,
    act,
  };
  const all = TUNABLES.find((tunable) => tunable.slot === slot)?.candidates(gpu, sizes) ?? [];
  const names = all.filter((name) => !(isCautious && isRisky(name)));
  const tried: { name: string; gflops?: number; problem?: string }[] = [];
  let want: Float32Array | undefined;
  // The first is what is used where nothing was tried. Where shaders run on processors, compiling others takes
  // longer than they could win.
  for (const name of gpu.info.isFallbackAdapter ? [UNTRIED] : [UNTRIED, ...names]) {
    try {
      const choices: Choices = name === UNTRIED ? {} : { [slot]: name };
      const { seconds, sample } = await timeGemm(gpu, act, size, choices);
      want ??= sample;
      const isRight = agree(sample, want);
      tried.push(
        isRight
          ? { name, gflops: (2 * size ** 3) / seconds / 1e9 }
          : { name, problem: "its numbers differ" },
      );
    } catch (error) {
      tried.push({ name, problem: error instanceof Error ? error.message : String(error) });
      if (gpu.isLost) throw error;
    }
  }
  const best = tried.reduce((most, one) => ((one.gflops ?? 0) > (most.gflops ?? 0) ? one : most));
  return { act, size, variant: best.name, gflops: best.gflops ?? Number.NaN, tried };
}

/** y = x · Wᵀ of [size, size], and some numbers of y. */
async function timeGemm(gpu: Gpu, act: "f32" | "f16", size: number, choices: Choices) {
  const shape = [size, size] as const;
  const [x, w, y] = ["gemm.x", "gemm.w", "gemm.y"].map((name) => gpu.allocate(name, act, shape));
  if (!x || !w || !y) throw new Error("internal: no operands");
  try {
    for (const tensor of [x, w]) fillWithNumbers(gpu, tensor, size);
    const seconds = await timeRecorded(gpu, choices, (recorder) => {
      matmulForward(recorder, { x, weight: { tensor: w, shape, kind: "native" }, y });
    });
    const bytes = await read(gpu, y, 0, size * 4);
    const sample = act === "f32" ? new Float32Array(bytes) : decodeF16(new Uint16Array(bytes));
    return { seconds, sample };
  } finally {
    for (const tensor of [x, w, y]) gpu.free(tensor);
  }
}

/** Within rounding of f16. */
function agree(got: Float32Array, want: Float32Array): boolean {
  const largest = want.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return got.every((value, i) => Math.abs(value - (want[i] ?? 0)) <= largest / 64);
}

/** Rows of made-up numbers in ±1, the same 64 again and again. */
function fillWithNumbers(gpu: Gpu, tensor: StoredTensor, columns: number): void {
  const random = createRandom(tensor.label.length);
  const numbers = Float32Array.from({ length: 64 * columns }, () => random.next() * 2 - 1);
  const data = tensor.dtype === "f16" ? encodeF16(numbers) : numbers;
  for (let at = 0; at < tensor.bytes; at += data.byteLength) write(gpu, tensor, data, at);
}

/** Seconds of one run of what `record` records. */
async function timeRecorded(
  gpu: Gpu,
  choices: Choices,
  record: (recorder: Recorder) => void,
): Promise<number> {
  const workspace = new Workspace(gpu);
  const step = new StepScalars(gpu);
  const recorder = new Recorder(gpu, "peak", workspace, step, choices);
  record(recorder);
  const program = await recorder.build();
  try {
    return await timeRuns(gpu, () => program.run());
  } finally {
    program.free();
    step.free();
    workspace.free();
  }
}

/** A batch is as long as makes the clock's steps and the wait's own cost small. */
const BATCH_SECONDS = 0.05;
const BATCHES = 5;

/** Seconds of one run, the best of several batches: this is of what the adapter can do. */
async function timeRuns(gpu: Gpu, run: () => void): Promise<number> {
  const batch = async (runs: number) => {
    const begun = performance.now();
    for (let i = 0; i < runs; i++) run();
    await gpu.finish();
    return (performance.now() - begun) / 1000;
  };
  await batch(1);
  let runs = 1;
  let seconds = await batch(runs);
  while (seconds < BATCH_SECONDS && runs < 4096) {
    runs = Math.min(4096, Math.max(runs + 1, Math.ceil((1.2 * runs * BATCH_SECONDS) / seconds)));
    seconds = await batch(runs);
  }
  const all = [seconds];
  while (all.length < BATCHES) all.push(await batch(runs));
  return Math.min(...all) / runs;
}
