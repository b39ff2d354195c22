// QVAC's training in a process of its own, a step at a time: between steps that are measured it is stopped,
// so that it takes turns with Hone although it knows of no turns.
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Taken } from "./measure.ts";
import type { TheirPlace } from "./theirs.ts";

/** What theirs/qvac.mjs is told. */
export interface QvacTask {
  readonly model: string;
  /** A text file. */
  readonly data: string;
  /** A folder that it may write to. */
  readonly output: string;
  readonly context: number;
  readonly rank: number;
  readonly alpha: number;
  readonly learningRate: number;
}

interface Line {
  readonly stats?: { readonly loss: number };
  readonly error?: string;
  readonly result?: unknown;
}

// Linux counts a process's time in hundredths of a second.
const TICK_MILLISECONDS = 10;

export class QvacProcess {
  readonly #child: ChildProcess;
  readonly #losses: number[] = [];
  #output = "";
  #adapter = "";
  /** When the process last went on, and what its time was then. */
  #since = { at: performance.now(), cpu: 0 };
  #waiting: { resolve: (taken: Taken) => void; reject: (error: Error) => void } | undefined;
  #end: Error | undefined;
  #carried: Taken = { milliseconds: 0, cpuMilliseconds: 0 };

  constructor({ folder, environment }: TheirPlace, task: QvacTask) {
    const runtime = `${folder}node_modules/bare-runtime-${process.platform}-${process.arch}/bin/bare`;
    chmodSync(runtime, 0o755); // what its install script would have done
    this.#child = spawn(runtime, [`${folder}theirs/qvac.mjs`, JSON.stringify(task)], {
      cwd: folder,
      env: { ...process.env, ...environment },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      if (stream) createInterface(stream).on("line", (line) => this.#read(line));
    }
    this.#child.on("error", (error) => this.#fail(error));
    this.#child.on("exit", (code, signal) => {
      const lines = this.#output.trim().split("\n").slice(-2).join(" ");
      this.#fail(new Error(`ended with ${signal ?? code}: ${lines}`));
    });
  }

  /** Lets it go on to the end of its next step. The first also holds all that it does before. */
  run(): Promise<Taken> {
    return new Promise((resolve, reject) => {
      if (this.#end) {
        reject(this.#end);
        return;
      }
      this.#waiting = { resolve, reject };
      this.#since = { at: performance.now(), cpu: this.#cpu() };
      this.#child.kill("SIGCONT");
    });
  }

  /** Of the steps so far: the mean over all of them, as it tells it. */
  get losses(): readonly number[] {
    return this.#losses;
  }

  /** The Vulkan device that it found. */
  get adapter(): string {
    return this.#adapter;
  }

  end(): void {
    this.#child.removeAllListeners("exit");
    this.#child.kill("SIGKILL");
  }

  #read(line: string): void {
    const device = /ggml_vulkan: \d+ = ([^|]+)/.exec(line)?.[1];
    if (device) this.#adapter = device.trim();
    if (!line.startsWith("peer ")) {
      this.#output = `${this.#output}${line}\n`.slice(-4000);
      return;
    }
    const { stats, error, result } = JSON.parse(line.slice(5)) as Line;
    if (error !== undefined) this.#fail(new Error(error));
    if (result !== undefined) this.#fail(new Error("ended before all steps were measured"));
    if (!stats) return;
    const taken = this.#takenNow();
    this.#losses.push(stats.loss);
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (!waiting) return;
    // What it does until it stops belongs to the next step.
    this.#since = { at: performance.now(), cpu: this.#cpu() };
    this.#child.kill("SIGSTOP");
    const { milliseconds, cpuMilliseconds } = this.#carried;
    this.#carried = this.#takenNow();
    waiting.resolve({
      milliseconds: taken.milliseconds + milliseconds,
      cpuMilliseconds: taken.cpuMilliseconds + cpuMilliseconds,
    });
  }

  #takenNow(): Taken {
    return {
      milliseconds: performance.now() - this.#since.at,
      cpuMilliseconds: this.#cpu() - this.#since.cpu,
    };
  }

  /** Milliseconds of all cores; NaN where the system does not tell. */
  #cpu(): number {
    try {
      const text = readFileSync(`/proc/${this.#child.pid}/stat`, "utf8");
      const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
      return (Number(fields[11]) + Number(fields[12])) * TICK_MILLISECONDS;
    } catch {
      return Number.NaN;
    }
  }

  #fail(error: Error): void {
    this.#end ??= error;
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }
}
