// One run of the command line: where words go, which GPU, and how it is interrupted.
import type { UserError } from "../base/error.ts";
import { createEngine, type Engine } from "../engine.ts";
import { nodeHost } from "../hosts/node.ts";
import type { TuneMode } from "../engine/tuning/tune.ts";
import type { AdapterChoice } from "../hosts/node-gpu.ts";
import type { Output } from "./output.ts";

export const EXIT = { done: 0, failed: 1, usage: 2, interrupted: 75, killed: 130 } as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export interface Session {
  readonly output: Output;
  readonly adapter: AdapterChoice;
  /** Undefined where nothing was said. */
  readonly tune: TuneMode | undefined;
}

/** What a command file is given to start its work with. */
export type Runner = (job: (session: Session) => Promise<ExitCode>) => Promise<void>;

const engines = new WeakMap<Session, Engine>();

/**
 * The session's engine, opened at its first use. One serves all parts of a command, since shaders that
 * one part has compiled are ready for the next; it goes with the process.
 */
export async function withEngine<T>(
  session: Session,
  use: (engine: Engine) => Promise<T>,
): Promise<T> {
  const { adapter, tune } = session;
  const open = () => createEngine(nodeHost({ adapter }), tune && { tune });
  const engine = engines.get(session) ?? open();
  engines.set(session, engine);
  return use(engine);
}

/** For work that has nothing to save. */
export const STOPPING_WORK = "Stopping; press Ctrl-C again to quit at once.";

const STOPPING = "Stopping, with the steps done so far saved; press Ctrl-C again to quit at once.";

/** A signal that the first Ctrl-C (or SIGTERM) aborts with `reason`, which ends the work; the second ends the process. */
export async function untilCanceled<T>(
  reason: UserError,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const stop = () => {
    if (controller.signal.aborted) process.exit(EXIT.killed);
    controller.abort(reason);
  };
  process.on("SIGINT", stop).on("SIGTERM", stop);
  try {
    return await work(controller.signal);
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop);
  }
}

/**
 * A signal that the first Ctrl-C (or SIGTERM) aborts while `work` runs, so that it can save; the
 * second one ends the process. `words` are said at the first.
 */
export async function untilStopped<T>(
  { output }: Session,
  work: (signal: AbortSignal) => Promise<T>,
  words = STOPPING,
): Promise<T> {
  const controller = new AbortController();
  const stop = () => {
    if (controller.signal.aborted) process.exit(EXIT.killed);
    output.say(words);
    controller.abort();
  };
  process.on("SIGINT", stop).on("SIGTERM", stop);
  try {
    return await work(controller.signal);
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop);
  }
}
