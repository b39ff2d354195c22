// Record once, replay: a list of dispatches with everything that WebGPU needs already made.
//
// A Recorder collects dispatches over tensors. `build` plans the memory of the transients, compiles the
// pipelines side by side and makes the bind groups; after that a run creates nothing but the command
// buffers that WebGPU wants anew, and waits for nothing.
import { invariant } from "../base/error.ts";
import { formatBytes, formatCount } from "../base/format.ts";
import type { Choices } from "./choices.ts";
import { type Gpu, TooLargeError } from "./device.ts";
import { cautiousSpeed, setTimedSpeed, watchRun } from "./device-speed.ts";
import { USAGE } from "./flags.ts";
import { MAX_WORKGROUPS, packParams, type Shader, type Variant, variantName } from "./kernel.ts";
import { BindGroups, type BoundBuffer } from "./bind-groups.ts";
import { compilePipelines, type PipelineRequest } from "./pipelines.ts";
import { planMemory } from "./plan.ts";
import type { StepScalars } from "./step-scalars.ts";
import { beginSubmit, type Encodable, encode, endSubmit, type Submit } from "./submit.ts";
import { byteLength, type Dtype, type Tensor } from "./tensor.ts";
import { timeEach } from "./time-each.ts";
import type { Workspace } from "./workspace.ts";

/** One dispatch, as a kernel wrapper describes it. */
export interface Dispatch<Binding extends string, Param extends string> extends Variant {
  readonly entry: string;
  /** Only those that the entry point uses. */
  readonly buffers: Readonly<Partial<Record<Binding, Tensor>>>;
  readonly params: Readonly<Record<Param, number>>;
  readonly grid: readonly [x: number, y?: number, z?: number];
  /** Arithmetic of this dispatch, for splitting submits and for the benchmark's columns. */
  readonly flops?: number;
  /** What it must move at the least, in bytes, where that is not each of its buffers once. */
  readonly bytes?: number;
}

interface Recorded {
  readonly name: string;
  readonly shader: Shader<string, string>;
  readonly request: PipelineRequest;
  readonly buffers: readonly { readonly binding: number; readonly tensor: Tensor }[];
  readonly params: Uint8Array<ArrayBuffer>;
  readonly grid: readonly [number, number, number];
  readonly flops: number;
  readonly bytes: number;
  readonly phase: string;
  readonly firstRow: number;
}

interface Ready extends Encodable {
  readonly name: string;
  readonly flops: number;
  readonly bytes: number;
  readonly phase: string;
  readonly firstRow: number;
}

/** A dispatch's share of a profiled run. */
export interface DispatchTiming {
  readonly name: string;
  readonly milliseconds: number;
  readonly flops: number;
  readonly bytes: number;
  readonly phase: string;
}

// Uniform offsets must be multiples of this on every adapter (minUniformBufferOffsetAlignment).
const UNIFORM_ALIGNMENT = 256;

/** How much GPU time one submit should hold: long enough to hide its cost, far from any watchdog. */
const SUBMIT_SECONDS = 0.1;

/** Bytes moved count as much as this many floating-point operations when a submit's time is guessed. */
const FLOPS_PER_BYTE = 4;

export class Recorder {
  readonly gpu: Gpu;
  readonly label: string;
  readonly #workspace: Workspace;
  readonly #step: StepScalars;
  readonly #recorded: Recorded[] = [];
  readonly #choices: Choices;
  /** Of dispatches that name none. */
  #firstRow = 0;
  /** Which part of a program is recorded from now on, for the benchmark. */
  phase = "";

  constructor(
    gpu: Gpu,
    label: string,
    workspace: Workspace,
    step: StepScalars,
    choices: Choices = gpu.choices,
  ) {
    this.gpu = gpu;
    this.label = label;
    this.#workspace = workspace;
    this.#step = step;
    this.#choices = choices;
  }

  /** The variant that a kernel was given; undefined where none was, and it takes the one that runs anywhere. */
  choice(slot: string): string | undefined {
    return this.#choices[slot];
  }

  /** A tensor that exists only within the program, from the first dispatch that names it to the last. */
  transient(label: string, dtype: Dtype, shape: readonly number[]): Tensor {
    return { label, dtype, shape, bytes: byteLength(dtype, shape) };
  }

  dispatch<B extends string, P extends string>(shader: Shader<B, P>, call: Dispatch<B, P>): void {
    const { entry, types = {}, constants = {} } = call;
    const name = variantName(shader, entry, { types, constants });
    const buffers = Object.keys(shader.bindings).flatMap((binding, index) => {
      const tensor = call.buffers[binding as B];
      return tensor ? [{ binding: index + 1, tensor }] : [];
    });
    const [x, y = 1, z = 1] = call.grid;
    invariant(x * y * z > 0, () => `${this.label}: ${name} has an empty grid ${x} × ${y} × ${z}`);
    this.#recorded.push({
      name,
      shader,
      request: { shader, entry, types, constants, bindings: buffers.map(({ binding }) => binding) },
      buffers,
      params: packParams(shader, call.params),
      grid: [x, y, z],
      flops: call.flops ?? 0,
      bytes: call.bytes ?? bytesOf(buffers.map(({ tensor }) => tensor)),
      phase: this.phase,
      firstRow: this.#firstRow,
    });
  }

  /** What `record` records works on the rows from `first` on: a run over no more than that leaves it out. */
  fromRow(first: number, record: () => void): void {
    this.#firstRow = first;
    record();
    this.#firstRow = 0;
  }

  /** Plans, compiles and binds. Throws if the GPU has too little memory or a shader does not compile. */
  async build(): Promise<Program> {
    const { gpu } = this;
    const places = this.#placeTransients();
    for (const { name, grid } of this.#recorded) checkGrid(name, grid);
    const pipelines = await compilePipelines(
      gpu,
      this.#recorded.map(({ request }) => request),
    );
    const { uniforms, offsets } = this.#writeParams();
    const groups = new BindGroups(gpu);
    const ready = this.#recorded.map((recorded, index): Ready => {
      const pipeline = pipelines[index];
      if (!pipeline) throw new Error(`internal: ${recorded.name} was not compiled`);
      const { name, grid, flops, bytes, phase, firstRow, params } = recorded;
      const bindings: BoundBuffer[] = recorded.buffers.map(({ binding, tensor }) => {
        const buffer = tensor.at?.buffer ?? places.get(tensor);
        if (!buffer) throw new Error(`internal: ${tensor.label} has no place`);
        return { binding, buffer, offset: tensor.at?.offset ?? 0, size: tensor.bytes };
      });
      const offset = offsets[index] ?? 0;
      bindings.push({ binding: 0, buffer: uniforms, offset, size: params.byteLength });
      const { layout, stepLayout } = pipeline;
      const step = {
        binding: 0,
        buffer: this.#step.buffer,
        offset: 0,
        size: this.#step.buffer.size,
      };
      return {
        name,
        pipeline: pipeline.pipeline,
        group: groups.of(layout, name, bindings),
        stepGroup: stepLayout && groups.of(stepLayout, "step", [step]),
        grid,
        flops,
        bytes,
        phase,
        firstRow,
      };
    });
    try {
      await gpu.check();
    } catch (error) {
      gpu.freeBuffer(uniforms);
      throw error;
    }
    return new Program(gpu, this.label, ready, uniforms);
  }

  #placeTransients(): Map<Tensor, GPUBuffer> {
    const lifetimes = new Map<Tensor, { bytes: number; first: number; last: number }>();
    this.#recorded.forEach(({ buffers }, index) => {
      for (const { tensor } of buffers) {
        this.#checkSize(tensor);
        if (tensor.at) continue;
        const lifetime = lifetimes.get(tensor);
        if (lifetime) lifetime.last = index;
        else lifetimes.set(tensor, { bytes: tensor.bytes, first: index, last: index });
      }
    });
    const plan = planMemory([...lifetimes.values()]);
    const buffers = this.#workspace.take(plan.slotBytes);
    const places = new Map<Tensor, GPUBuffer>();
    [...lifetimes.keys()].forEach((tensor, index) => {
      const buffer = buffers[plan.slots[index] ?? -1];
      if (buffer) places.set(tensor, buffer);
    });
    return places;
  }

  #checkSize({ label, bytes }: Tensor): void {
    const { gpu } = this;
    if (bytes <= gpu.maxTensorBytes) return;
    throw new TooLargeError(
      `One tensor of this run (${label}) takes ${formatBytes(bytes)}; ${gpu.name} shows a shader at most ${formatBytes(gpu.maxTensorBytes)} of one.`,
      "Lower max_length or batch_size, or choose a smaller model.",
    );
  }

  /** All parameter blocks in one uniform buffer; equal blocks are stored once. */
  #writeParams(): { uniforms: GPUBuffer; offsets: number[] } {
    const known = new Map<string, number>();
    const blocks: Uint8Array[] = [];
    let end = 0;
    const offsets = this.#recorded.map(({ params }) => {
      const key = String.fromCharCode(...params);
      const at = known.get(key);
      if (at !== undefined) return at;
      const offset = end;
      known.set(key, offset);
      blocks.push(params);
      end += Math.ceil(params.byteLength / UNIFORM_ALIGNMENT) * UNIFORM_ALIGNMENT;
      return offset;
    });
    const bytes = new Uint8Array(Math.max(end, UNIFORM_ALIGNMENT));
    [...known.values()].forEach((offset, index) => bytes.set(blocks[index] ?? [], offset));
    const uniforms = this.gpu.buffer(
      `${this.label}.params`,
      bytes.byteLength,
      USAGE.uniform | USAGE.copyTarget,
    );
    this.gpu.device.queue.writeBuffer(uniforms, 0, bytes);
    return { uniforms, offsets };
  }
}

function checkGrid(name: string, grid: readonly number[]): void {
  const most = Math.max(...grid);
  if (most <= MAX_WORKGROUPS) return;
  throw new TooLargeError(
    `${name} takes ${formatCount(most)} workgroups in a row; WebGPU allows ${formatCount(MAX_WORKGROUPS)}.`,
    "Lower max_length or batch_size.",
  );
}

export class Program {
  readonly label: string;
  readonly flops: number;
  readonly #gpu: Gpu;
  readonly #dispatches: readonly Ready[];
  readonly #uniforms: GPUBuffer;
  #flopsPerSecond: number | undefined;
  // Since the speed was last learned.
  #runs = 0;
  #submittedWork = 0;

  constructor(gpu: Gpu, label: string, dispatches: readonly Ready[], uniforms: GPUBuffer) {
    this.#gpu = gpu;
    this.label = label;
    this.#dispatches = dispatches;
    this.#uniforms = uniforms;
    this.flops = dispatches.reduce((sum, { flops }) => sum + flops, 0);
  }

  get dispatchCount(): number {
    return this.#dispatches.length;
  }

  /** Names of the dispatches in order, for tests and traces. */
  get dispatchNames(): readonly string[] {
    return this.#dispatches.map(({ name }) => name);
  }

  /**
   * Submits everything, in pieces of about SUBMIT_SECONDS of GPU time. Returns at once. With `rows`, what
   * begins at that row or after it is left out.
   */
  run({ rows = Infinity }: { rows?: number } = {}): void {
    const limit = (this.#flopsPerSecond ?? cautiousSpeed(this.#gpu)) * SUBMIT_SECONDS;
    const begun = performance.now();
    let submit: Submit | undefined;
    let held = 0;
    let work = 0;
    for (const dispatch of this.#dispatches) {
      if (dispatch.firstRow >= rows) continue;
      submit ??= beginSubmit(this.#gpu, this.label);
      encode(submit, dispatch);
      held += workOf(dispatch);
      if (held < limit) continue;
      endSubmit(this.#gpu, submit);
      submit = undefined;
      work += held;
      held = 0;
    }
    if (submit) endSubmit(this.#gpu, submit);
    work += held;
    this.#submittedWork += work;
    this.#runs++;
    watchRun(this.#gpu, begun, work);
  }

  /**
   * Tells how long a run took, so that the next is split into submits of the right length: one run of those
   * since the last call, on average.
   */
  learnSpeed(seconds: number): void {
    const work =
      this.#runs > 0
        ? this.#submittedWork / this.#runs
        : this.#dispatches.reduce((sum, dispatch) => sum + workOf(dispatch), 0);
    this.#runs = 0;
    this.#submittedWork = 0;
    if (seconds <= 0 || work <= 0) return;
    this.#flopsPerSecond = Math.max(1e6, work / seconds);
    setTimedSpeed(this.#gpu, this.#flopsPerSecond);
  }

  /**
   * Seconds that so many runs in one submit take together: by the GPU's own clock where it has one, which knows
   * nothing of the way there and back. Waits; for trials, whose runs are short.
   */
  async time(runs: number): Promise<number> {
    const gpu = this.#gpu;
    const encodeAll = (pass: GPUComputePassEncoder) => {
      const into = { pass };
      for (let run = 0; run < runs; run++) {
        for (const dispatch of this.#dispatches) encode(into, dispatch);
      }
    };
    const begun = performance.now();
    let told = 0;
    if (gpu.hasTimestamps) {
      [told = 0] = await timeEach(gpu, 1, encodeAll);
    } else {
      const submit = beginSubmit(gpu, this.label);
      encodeAll(submit.pass);
      endSubmit(gpu, submit);
    }
    await gpu.finish();
    return believed(told, performance.now() - begun) / 1000;
  }

  /** Runs with a timestamp around every dispatch. Waits; for benchmarks only. */
  async profile(): Promise<DispatchTiming[]> {
    const milliseconds = await timeEach(this.#gpu, this.#dispatches.length, (pass, index) => {
      const dispatch = this.#dispatches[index];
      if (dispatch) encode({ pass }, dispatch);
    });
    return this.#dispatches.map(({ name, flops, bytes, phase }, index) => ({
      name,
      milliseconds: milliseconds[index] ?? Number.NaN,
      flops,
      bytes,
      phase,
    }));
  }

  /**
   * The dispatches that `isKept` picks by name, to see what they take: results are worth nothing. It lives as
   * long as the whole, and is not freed.
   */
  part(isKept: (name: string) => boolean): Program {
    const kept = this.#dispatches.filter(({ name }) => isKept(name));
    return new Program(this.#gpu, this.label, kept, this.#uniforms);
  }

  /** Frees what is the program's own; the workspace's buffers stay for others. */
  free(): void {
    this.#gpu.freeBuffer(this.#uniforms);
  }
}

/** Milliseconds that the way there and back alone never takes. */
const LONG_WAIT = 50;

/** What a GPU tells of its time, unless its clock is too coarse for that, or counts what are no nanoseconds. */
function believed(told: number, waited: number): number {
  const isWrong = told <= 0 || (waited > LONG_WAIT && waited > 4 * told);
  return isWrong ? waited : Math.min(told, waited);
}

function workOf({ flops, bytes }: Ready): number {
  return flops + bytes * FLOPS_PER_BYTE;
}

/** Each tensor once: one that stands in for an operand that is not there is one of the others. */
function bytesOf(tensors: readonly Tensor[]): number {
  return [...new Set(tensors)].reduce((sum, { bytes }) => sum + bytes, 0);
}
