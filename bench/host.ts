// What the host spends on a training step, on Dawn's null backend: nothing is computed, so that what is left is
// our own cost and Dawn's.
import { openGpu } from "../src/gpu/device.ts";
import { findAdapter } from "../src/hosts/node-gpu.ts";
import { readArchitecture } from "../src/model/architecture.ts";
import { KEEPING_WEIGHTS, keepingAt } from "../src/model/keeping.ts";
import type { MicroBatch, Stepper } from "../src/train/step.ts";
import { createStepper, prepareModel, randomBatch } from "./prepare.ts";
import { median } from "./statistics.ts";

export interface HostFigures {
  /** What was recorded. */
  readonly model: string;
  readonly tokens: number;
  readonly dispatches: number;
  /** From a batch on the host to everything submitted: forward, recomputation, backward and optimizer. */
  readonly stepMilliseconds: number;
  /** Processor time of all threads in it. */
  readonly cpuMilliseconds: number;
  /** Of each of the two. */
  readonly microsecondsPerDispatch: number;
  readonly cpuMicrosecondsPerDispatch: number;
  /** Of the steps, those that another program interrupted; they are left out. */
  readonly interrupted: number;
  /** From recording to programs that can run, with every pipeline compiled before. */
  readonly buildMilliseconds: number;
}

// The parts, the layers and the vocabulary of InternLM2-1.8B at a quarter of its width: what a dispatch costs the
// host does not depend on sizes, and the null backend has 512 MiB.
const MODEL = "InternLM2-1.8B's 24 layers, a quarter as wide";
const CONFIG = {
  model_type: "internlm2",
  bias: false,
  hidden_size: 512,
  intermediate_size: 2048,
  num_hidden_layers: 24,
  num_attention_heads: 8,
  num_key_value_heads: 4,
  vocab_size: 92_544,
  max_position_embeddings: 32_768,
  rms_norm_eps: 1e-5,
  rope_theta: 1e6,
  tie_word_embeddings: false,
};
const TOKENS = 2048;

/** That no other program interrupts: a machine's scheduler takes longer than a step when it does. */
const STEPS = 50;
const FEWEST_STEPS = 5;
const MOST_STEPS = 1000;
/** Wall time ÷ processor time of a step that nobody interrupted, at the most. */
const CALM = 1.05;
const BUILDS = 5;

export async function measureHost(): Promise<HostFigures> {
  const { adapter } = await findAdapter("null");
  const gpu = await openGpu(adapter);
  const architecture = readArchitecture(CONFIG, MODEL);
  const model = await prepareModel(gpu, { name: MODEL, architecture }, TOKENS);
  const { layers } = architecture;
  const kept = keepingAt(KEEPING_WEIGHTS, layers); // as checkpointing has it where there is memory
  let stepper = await createStepper(model, TOKENS, kept); // which compiles
  const builds: number[] = [];
  for (let build = 0; build < BUILDS; build++) {
    stepper.free();
    const begun = performance.now();
    stepper = await createStepper(model, TOKENS, kept);
    builds.push(performance.now() - begun);
  }
  const { wall, processor, interrupted } = await timeSteps(
    stepper,
    randomBatch(architecture.vocab, TOKENS),
  );
  const dispatches = stepper.trainProgram.dispatchCount + stepper.optimizerProgram.dispatchCount;
  const stepMilliseconds = median(wall);
  const cpuMilliseconds = median(processor);
  stepper.free();
  gpu.close();
  return {
    model: MODEL,
    tokens: TOKENS,
    dispatches,
    stepMilliseconds,
    cpuMilliseconds,
    microsecondsPerDispatch: (stepMilliseconds * 1000) / dispatches,
    cpuMicrosecondsPerDispatch: (cpuMilliseconds * 1000) / dispatches,
    interrupted,
    buildMilliseconds: median(builds),
  };
}

/** Milliseconds of steps that no other program interrupted; of all where there are too few. */
async function timeSteps(stepper: Stepper, batch: MicroBatch) {
  const all: Timed[] = [];
  const calm: Timed[] = [];
  while (calm.length < STEPS && all.length < MOST_STEPS) {
    stepper.learnSpeed(1e-3, 1); // few submits, as on a fast GPU
    const before = process.cpuUsage();
    const begun = performance.now();
    const outcome = stepper.run([batch], all.length, 1e-4);
    const wall = performance.now() - begun;
    const { user, system } = process.cpuUsage(before);
    const taken = { wall, processor: (user + system) / 1000 };
    all.push(taken);
    if (wall < taken.processor * CALM) calm.push(taken);
    await outcome;
  }
  const counted = calm.length < FEWEST_STEPS ? all : calm;
  return {
    wall: counted.map(({ wall }) => wall),
    processor: counted.map(({ processor }) => processor),
    interrupted: 1 - calm.length / all.length,
  };
}

interface Timed {
  readonly wall: number;
  readonly processor: number;
}
