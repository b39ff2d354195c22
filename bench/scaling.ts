// Whether a token costs as much in a long row as in a short one, and how memory grows with the row.
//
// Attention's work is quadratic in the row, so it stands apart from all the rest. Rows of all lengths take turns,
// and in a round each length replays as many tokens as the longest row has: what else the machine does then
// falls on all of them alike. The clock is the GPU's, or, where the adapter computes on the CPU, the processor
// time of all cores, which others disturb least.
import { UserError } from "../src/base/error.ts";
import { type Gpu, OutOfMemoryError, TooLargeError } from "../src/gpu/device.ts";
import type { Program } from "../src/gpu/program.ts";
import type { Checkpointing } from "../src/model/keeping.ts";
import type { Model } from "../src/model/transformer.ts";
import type { Stepper } from "../src/train/step.ts";
import { countMemory } from "./keeping.ts";
import { kernelOf } from "./measure.ts";
import { createStepper, randomBatch } from "./prepare.ts";
import { lineThrough, spreadOf } from "./statistics.ts";

const LENGTHS = [128, 256, 512, 1024, 2048, 4096];

export interface ScalingFigures {
  readonly clock: "GPU" | "processor";
  readonly rows: readonly RowFigures[];
  /**
   * Of the time for a token but for attention: how far the fastest and the slowest length are from the median
   * of all. 0.05 is 5 % more.
   */
  readonly spread: readonly [least: number, most: number];
  /** The line through what was measured, by least squares. */
  readonly memory: {
    readonly fixedBytes: number;
    readonly bytesPerToken: number;
    /** How far the row that is furthest from it is, as a share of what the line says. */
    readonly furthest: number;
  };
}

/**
 * Times are microseconds for each token of a step over one row that is one document. They are the least of the
 * rounds: what else the machine does only ever adds.
 */
export interface RowFigures {
  readonly tokens: number;
  readonly attention: number;
  readonly rest: number;
  readonly restOfRounds: readonly number[];
  /** What the rest is made of, each timed in runs of its own, in the first round. */
  readonly kernels: Readonly<Record<string, number>>;
  /** Bytes that live only within a step, as a GPU that only counts foretold them and as they were. */
  readonly foretoldBytes: number;
  readonly measuredBytes: number;
}

/** Attention that takes longer is timed in the first round alone. */
const LONG_ATTENTION_SECONDS = 2;

/** Throws where no clock tells what a part of a step takes. */
export function requireClock(gpu: Gpu): void {
  if (gpu.hasTimestamps || clockOf(gpu) === "processor") return;
  throw new UserError(`${gpu.name} has no timestamps (timestamp-query).`, "Leave --scaling out.");
}

/** Measures rows from 128 tokens on, as far as there is memory. */
export async function measureScaling(
  model: Model,
  rounds: number,
  keptAt: (tokens: number) => Promise<Checkpointing>,
): Promise<ScalingFigures> {
  const { gpu, workspace } = model;
  const clock = clockOf(gpu);
  const secondsOf = clock === "GPU" ? gpuSeconds : processorSeconds;
  const memory = await memoryByLength(model, keptAt);
  const longest = Math.max(...memory.keys());
  workspace.free();
  const lengths: Length[] = [];
  // The longest first: the others then lie in its arena.
  for (const tokens of [...memory.keys()].toReversed()) {
    lengths.unshift(await startLength(model, tokens, await keptAt(tokens)));
  }
  for (let round = 0; round < rounds; round++) {
    for (const length of lengths) await timeRound(gpu, length, longest / length.tokens, secondsOf);
  }
  for (const { stepper } of lengths) stepper.free();
  const rows = lengths.map((length): RowFigures => {
    const { tokens, attention, rest, kernels } = length;
    const { foretoldBytes = Number.NaN, measuredBytes = Number.NaN } = memory.get(tokens) ?? {};
    return {
      tokens,
      attention: Math.min(...attention.taken),
      rest: Math.min(...rest.taken),
      restOfRounds: rest.taken,
      kernels: Object.fromEntries(kernels.map(({ name, taken: [first = 0] }) => [name, first])),
      foretoldBytes,
      measuredBytes,
    };
  });
  const line = lineThrough(rows.map(({ tokens, measuredBytes }) => [tokens, measuredBytes]));
  return {
    clock,
    rows,
    spread: spreadOf(rows.map(({ rest }) => rest)),
    memory: { fixedBytes: line.at0, bytesPerToken: line.slope, furthest: line.furthest },
  };
}

function clockOf({ info }: Gpu): "GPU" | "processor" {
  return info.isFallbackAdapter ? "processor" : "GPU";
}

interface Length {
  readonly tokens: number;
  readonly stepper: Stepper;
  readonly attention: Part;
  readonly rest: Part;
  readonly kernels: readonly Part[];
}

/** Some of a step's dispatches, and what they took in each round: microseconds for each token. */
interface Part {
  readonly name: string;
  readonly programs: readonly Program[];
  readonly taken: number[];
}

/** Records a step of such a row, and takes one. */
async function startLength(
  model: Model,
  tokens: number,
  checkpointing: Checkpointing,
): Promise<Length> {
  const stepper = await createStepper(model, tokens, checkpointing);
  const batch = randomBatch(model.architecture.vocab, tokens);
  // The table of angles is as long as the model was prepared for: past it, the row takes them from its start.
  const angles = model.weights.ropeTables[0]?.shape[0] ?? tokens;
  const positions = batch.positions.map((position) => position % angles);
  const begun = performance.now();
  await stepper.run([{ ...batch, positions }], 0, 1e-4);
  stepper.learnSpeed((performance.now() - begun) / 1000, 1);

  const whole = [stepper.trainProgram, stepper.optimizerProgram];
  const partOf = (name: string, isKept: (kernel: string) => boolean): Part => {
    const parts = whole.map((program) => program.part((dispatch) => isKept(kernelOf(dispatch))));
    return { name, programs: parts.filter(({ dispatchCount }) => dispatchCount > 0), taken: [] };
  };
  const kernels = new Set(whole.flatMap(({ dispatchNames }) => dispatchNames.map(kernelOf)));
  return {
    tokens,
    stepper,
    attention: partOf("attention", isAttention),
    rest: partOf("rest", (kernel) => !isAttention(kernel)),
    kernels: [...kernels]
      .filter((kernel) => !isAttention(kernel))
      .map((name) => partOf(name, (kernel) => kernel === name)),
  };
}

function isAttention(kernel: string): boolean {
  return kernel.startsWith("attention");
}

/** Seconds that some replays of programs take. */
type Clock = (gpu: Gpu, programs: readonly Program[], replays: number) => Promise<number>;

async function timeRound(
  gpu: Gpu,
  { tokens, attention, rest, kernels }: Length,
  replays: number,
  secondsOf: Clock,
): Promise<void> {
  const time = async ({ programs, taken }: Part, times: number) => {
    const seconds = await secondsOf(gpu, programs, times);
    taken.push((seconds * 1e6) / (times * tokens));
  };
  const [attentionBefore = 0] = attention.taken;
  if (attentionBefore * tokens < LONG_ATTENTION_SECONDS * 1e6) await time(attention, 1);
  await time(rest, replays);
  for (const kernel of kernels) if (kernel.taken.length === 0) await time(kernel, replays);
}

async function gpuSeconds(_: Gpu, programs: readonly Program[], replays: number): Promise<number> {
  let ms = 0;
  for (let replay = 0; replay < replays; replay++) {
    for (const program of programs) {
      for (const { milliseconds } of await program.profile()) ms += milliseconds;
    }
  }
  return ms / 1000;
}

async function processorSeconds(
  gpu: Gpu,
  programs: readonly Program[],
  replays: number,
): Promise<number> {
  await gpu.finish();
  const before = process.cpuUsage();
  for (let replay = 0; replay < replays; replay++) for (const program of programs) program.run();
  await gpu.finish();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

/** The arena of each length in a workspace of its own, up to the first that there is no memory for. */
async function memoryByLength(
  model: Model,
  keptAt: (tokens: number) => Promise<Checkpointing>,
): Promise<Map<number, { foretoldBytes: number; measuredBytes: number }>> {
  const { gpu, architecture, workspace } = model;
  const found = new Map<number, { foretoldBytes: number; measuredBytes: number }>();
  for (const tokens of LENGTHS) {
    try {
      const checkpointing = await keptAt(tokens);
      const counted = await countMemory(gpu, architecture, tokens, checkpointing);
      if (counted instanceof TooLargeError) break;
      workspace.free();
      (await createStepper(model, tokens, checkpointing)).free();
      found.set(tokens, { foretoldBytes: counted.arena, measuredBytes: workspace.bytes });
    } catch (error) {
      if (error instanceof OutOfMemoryError || error instanceof TooLargeError) break;
      throw error;
    }
  }
  return found;
}
