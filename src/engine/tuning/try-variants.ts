// Finds the fastest variant of a kernel by trying: compile all, check each against the first, time, decide.
//
// A driver may refuse a variant, compute nonsense with it, or fall over. All three are expected: every call
// runs in an error scope, results start as NaN, and a variant that fails is named with the reason and left out.
import { throwIfAborted } from "../../base/error.ts";
import type { Choices } from "../../gpu/choices.ts";
import type { Gpu } from "../../gpu/device.ts";
import { type Program, Recorder } from "../../gpu/program.ts";
import { StepScalars } from "../../gpu/step-scalars.ts";
import { Workspace } from "../../gpu/workspace.ts";
import type { Trial, TrialSizes, Tunable } from "../../kernels/tunable.ts";
import {
  failureOf,
  popScopes,
  pushScopes,
  scoped,
  scopedStart,
  unlessAborted,
} from "./variant-scopes.ts";
import { differenceOf, fingerprint, poison, readResults, toNumbers } from "./variant-results.ts";

/** Why a variant was dropped. */
export interface Fault {
  /**
   * failed: a driver or compiler refused it; unwritten: what is no number was left in its results; unsteady: run
   * again, it wrote other bits; crashed: the program ended while it was tried.
   */
  readonly kind: "failed" | "unwritten" | "wrong" | "unsteady" | "crashed";
  /** In a sentence. */
  readonly words: string;
}

/** What came of one variant. Without seconds and fault it was not tried, or not to the end: the time was up. */
export interface VariantTrial {
  readonly name: string;
  /** Of one run, in the best batch. */
  readonly seconds?: number;
  readonly fault?: Fault;
  /** How often its trying was begun, where that came to no end. */
  readonly begun?: number;
}

export interface SlotTrial {
  readonly slot: string;
  /** In the kernel's order: the first is the one that the others are checked against. */
  readonly variants: readonly VariantTrial[];
  /** The name of one of them. */
  readonly chosen: string;
}

export interface TryOptions {
  /** Milliseconds. */
  readonly now: () => number;
  /** Asked while compiling and between runs: whether to start nothing more and decide by what is known. */
  readonly isOver: () => boolean;
  /** Bytes of each result that are checked, from its ends and in between. */
  readonly checkedBytes: number;
  /** Of other kernels, which may take part in the work. */
  readonly choices?: Choices;
  readonly signal?: AbortSignal | undefined;
  /** Called with the share that is done, 0 to 1, as variants are compiled, checked and timed. */
  readonly onShare?: (share: number) => void;
  /** Given what is being compiled, which the trying may not wait for to its end. */
  readonly onCompiling?: (work: Promise<unknown>) => void;
}

/** How much faster than the first variant another must be: less may be chance. */
const MARGIN = 1.05;
/** GPU work of a batch, so that the clock's steps and the wait's own cost do not count. */
const BATCH_SECONDS = 0.012;
/** Of a batch: encoding more would take as long as the batch should. */
const MOST_RUNS = 2000;
/** A batch has at most so many times the runs of the one before: a clock may be too coarse to tell of a few. */
const GROWTH = 8;
/** Batches of each variant, taken in turns, so that a clock that rises favors nobody. */
const ROUNDS = 3;
/** After the first round, variants this much slower than the best are not timed again. */
const HOPELESS = 1.5;

interface Candidate {
  readonly name: string;
  program?: Program;
  /** Runs in a batch. */
  runs: number;
  seconds: number;
  fault?: Fault;
  isBegun?: boolean;
  /** Its program is of no use any more, should it still come. */
  isLate?: boolean;
  /** Of its results, for telling whether it writes the same bits again. */
  print?: string;
}

/**
 * Tries the variants of one kernel. Fails only where the work around them does, or by the signal: what a
 * variant does wrong is in the result. Where the device was lost (`gpu.isLost`), the first variant is chosen.
 */
export async function tryVariants(
  gpu: Gpu,
  tunable: Tunable,
  sizes: TrialSizes,
  options: TryOptions,
): Promise<SlotTrial> {
  const { slot } = tunable;
  const candidates = tunable
    .candidates(gpu, sizes)
    .map((name): Candidate => ({ name, runs: 1, seconds: Number.NaN }));
  const [first] = candidates;
  if (!first) throw new Error(`internal: ${slot} has no variant`);
  const workspace = new Workspace(gpu);
  const step = new StepScalars(gpu);
  const share = shareOf(candidates.length, options);
  let trial: Trial | undefined;
  // Around all: what no inner scope has would otherwise spoil the device. Who is to blame fails when it runs.
  pushScopes(gpu);
  try {
    const made = (trial = tunable.trial(gpu, sizes));
    if (made.step) step.set(made.step);
    await gpu.check();
    const compiling: Promise<void>[] = [];
    for (const candidate of candidates) {
      if (options.isOver()) break;
      const choices = { ...options.choices, [slot]: candidate.name };
      const recorder = new Recorder(gpu, `try ${slot}`, workspace, step, choices);
      candidate.isBegun = true;
      compiling.push(
        compile(made, candidate, recorder).then(() => {
          if (candidate.isLate !== true) share.compiled();
        }),
      );
    }
    const compiled = Promise.all(compiling);
    options.onCompiling?.(compiled);
    await untilOver(compiled, options);
    const chosen = await choose(gpu, made, candidates, options, share);
    return { slot, variants: candidates.map(resultOf), chosen: chosen.name };
  } catch (error) {
    throwIfAborted(options.signal);
    // Memory for the operands, or the device: nothing that a variant is to blame for.
    first.fault ??= failureOf(error);
    return { slot, variants: candidates.map(resultOf), chosen: first.name };
  } finally {
    for (const candidate of candidates) {
      candidate.program?.free();
      candidate.isLate = true;
    }
    for (const tensor of trial?.tensors ?? []) gpu.free(tensor);
    step.free();
    workspace.free();
    await popScopes(gpu);
  }
}

/** Makes a candidate's program. One that does not compile is the candidate's fault. */
async function compile(trial: Trial, candidate: Candidate, recorder: Recorder): Promise<void> {
  const { gpu } = recorder;
  try {
    trial.record(recorder);
    // Shader modules are made before the first wait; what several candidates do after it, nobody can tell apart.
    const program = await scopedStart(gpu, () => recorder.build());
    // Late, it was not for nothing: drivers keep what they compiled for the next time.
    if (candidate.isLate === true) program?.free();
    else candidate.program = program;
  } catch (error) {
    candidate.fault = failureOf(error);
  }
}

/** How often it is asked whether the time is up while compilers are at work. Milliseconds. */
const POLL = 20;

/** Waits for work, but no longer than there is time. */
async function untilOver(work: Promise<unknown>, { isOver, signal }: TryOptions): Promise<void> {
  let timer: ReturnType<typeof setInterval> | undefined;
  const over = new Promise<void>((resolve) => {
    timer = setInterval(() => {
      if (isOver() || signal?.aborted === true) resolve();
    }, POLL);
  });
  try {
    await Promise.race([work, over]);
  } finally {
    clearInterval(timer);
  }
  throwIfAborted(signal);
}

/** Counts what is done of a trial: of each variant a compilation, a check and its rounds. */
function shareOf(count: number, { onShare }: TryOptions): Share {
  const all = count * 3;
  let done = 0;
  const add = (part: number) => {
    done += part;
    onShare?.(Math.min(done / all, 1));
  };
  return {
    compiled: () => add(1),
    checked: () => add(1),
    timed: (variants) => add(count / variants / ROUNDS),
  };
}

interface Share {
  readonly compiled: () => void;
  readonly checked: () => void;
  /** A batch of one of so many variants. */
  readonly timed: (variants: number) => void;
}

async function choose(
  gpu: Gpu,
  trial: Trial,
  candidates: readonly Candidate[],
  options: TryOptions,
  share: Share,
): Promise<Candidate> {
  const [first, ...others] = candidates as readonly [Candidate, ...Candidate[]];
  if (options.isOver()) return first;
  let reference: readonly Float32Array[] | undefined;
  await attempt(gpu, first, options, async () => {
    reference = await firstResults(gpu, trial, first, options);
  });
  throwIfAborted(options.signal);
  share.checked();
  if (!reference) return first;
  const known = reference;
  const fault = differenceOf(known, known, trial.tolerance);
  if (fault !== undefined) first.fault ??= fault;
  if (first.fault !== undefined) return first;
  const sound = [first];
  for (const other of others) {
    if (options.isOver() || gpu.isLost) break;
    await attempt(gpu, other, options, async () => {
      const results = await firstResults(gpu, trial, other, options);
      const difference = differenceOf(results, known, trial.tolerance);
      if (difference !== undefined) other.fault = difference;
    });
    throwIfAborted(options.signal);
    share.checked();
    if (other.fault === undefined && other.program) sound.push(other);
  }
  if (sound.length === 1) return first;
  await timeAll(gpu, sound, options, share);
  return decide(gpu, trial, sound, options);
}

/** Runs a candidate once over results of NaN and reads them. Learns how long a run takes about. */
async function firstResults(
  gpu: Gpu,
  { results }: Trial,
  candidate: Candidate,
  { now, checkedBytes }: TryOptions,
): Promise<readonly Float32Array[]> {
  for (const tensor of results) poison(gpu, tensor);
  await gpu.finish();
  const started = now();
  candidate.program?.run();
  await gpu.finish();
  const seconds = (now() - started) / 1000;
  candidate.program?.learnSpeed(seconds);
  candidate.runs = Math.min(GROWTH, runsFor(seconds));
  const pieces = await readResults(gpu, results, checkedBytes);
  candidate.print = pieces.map(fingerprint).join(" ");
  return pieces.map((bytes, index) => toNumbers(bytes, results[index]));
}

/** Times batches in turns. Writes `seconds`, the least of a candidate's batches. */
async function timeAll(
  gpu: Gpu,
  sound: readonly Candidate[],
  options: TryOptions,
  share: Share,
): Promise<void> {
  const { isOver, signal } = options;
  const timeBatch = async (candidate: Candidate) => {
    const { program, runs } = candidate;
    const seconds = (await program?.time(runs)) ?? Number.NaN;
    const isShort = seconds < BATCH_SECONDS && runs < MOST_RUNS;
    if (isShort) candidate.runs = Math.min(runs * GROWTH, runsFor(seconds / runs));
    return { each: seconds / runs, isShort };
  };
  let running = sound;
  for (let round = 0; round < ROUNDS; round++) {
    for (const candidate of running) {
      if (gpu.isLost || isOver()) return;
      await attempt(gpu, candidate, options, async () => {
        let batch = await timeBatch(candidate);
        while (batch.isShort) batch = await timeBatch(candidate);
        candidate.seconds = Math.min(candidate.seconds || Infinity, batch.each);
      });
      throwIfAborted(signal);
      share.timed(running.length);
    }
    const best = Math.min(...sound.map(({ seconds }) => seconds || Infinity));
    const [first] = sound;
    running = running.filter(
      (candidate) =>
        !candidate.fault && (candidate === first || candidate.seconds < best * HOPELESS),
    );
    // On a slow adapter one batch is long enough to judge by.
    if (running.length === 1 || best > BATCH_SECONDS * 10) return;
  }
}

/** The fastest that is fast enough to leave the first for, and writes the same bits after all that running. */
async function decide(
  gpu: Gpu,
  trial: Trial,
  sound: readonly Candidate[],
  options: TryOptions,
): Promise<Candidate> {
  const [first, ...others] = sound as readonly [Candidate, ...Candidate[]];
  const faster = others
    .filter(({ seconds, fault }) => !fault && first.seconds >= seconds * MARGIN)
    .toSorted((a, b) => a.seconds - b.seconds);
  for (const candidate of faster) {
    if (gpu.isLost) return first;
    await attempt(gpu, candidate, options, async () => {
      for (let run = 0; run < candidate.runs; run++) candidate.program?.run();
      const pieces = await readResults(gpu, trial.results, options.checkedBytes);
      if (pieces.map(fingerprint).join(" ") !== candidate.print) {
        candidate.fault = { kind: "unsteady", words: "run again, it writes other bits" };
      }
    });
    throwIfAborted(options.signal);
    if (candidate.fault === undefined) return candidate;
  }
  return first;
}

/** Does something with a candidate's program, and makes what goes wrong the candidate's fault. */
async function attempt(
  gpu: Gpu,
  candidate: Candidate,
  { signal }: TryOptions,
  work: () => Promise<void>,
): Promise<void> {
  if (!candidate.program) return;
  try {
    await scoped(gpu, () => unlessAborted(work(), signal));
  } catch (error) {
    candidate.fault = failureOf(error);
  }
}

function runsFor(seconds: number): number {
  return Math.min(
    MOST_RUNS,
    Math.max(1, Math.ceil((BATCH_SECONDS * 1.2) / Math.max(seconds, 1e-6))),
  );
}

function resultOf({ name, seconds, fault, isBegun }: Candidate): VariantTrial {
  if (fault !== undefined) return { name, fault };
  if (Number.isFinite(seconds)) return { name, seconds };
  return isBegun === true ? { name, begun: 1 } : { name };
}
