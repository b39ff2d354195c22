// The kinds of failure: what the person can fix, what they asked for themselves, and what is a bug.
//
// Across a worker boundary only name and message come along, so what is told apart there has its own name.

/**
 * A failure that the person running the program can fix; anything else is a bug.
 *
 * The message is two lines: the problem, with its numbers and place, then the remedy as one
 * instruction. Both are in `message` because a worker boundary carries only name and message.
 */
export class UserError extends Error {
  override readonly name: string = "UserError";

  constructor(problem: string, remedy: string, options?: ErrorOptions) {
    super(`${problem}\n${remedy}`, options);
  }
}

/** A request in the wrong form: an unknown command, option or value. The command line exits with 2. */
export class UsageError extends UserError {
  override readonly name = "UsageError";
}

/** Work that ended because whoever wanted it no longer did. Nothing is wrong, and nothing is left of it. */
export class AbortedError extends UserError {
  override readonly name = "AbortedError";

  constructor(problem = "It was stopped before it was done.", remedy = "Start it again.") {
    super(problem, remedy);
  }
}

/** To be called where work can end: between two slices, two files, two parts. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new AbortedError();
}

/** Checks what the caller must already guarantee. A failure here is a bug. */
export function invariant(condition: boolean, message: () => string): asserts condition {
  if (!condition) throw new Error(`internal: ${message()}`);
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
