// Work with a variant of a kernel, which may fail in every way: each way is caught, and none spoils the device.
import { AbortedError, messageOf } from "../../base/error.ts";
import type { Gpu } from "../../gpu/device.ts";
import type { Fault } from "./try-variants.ts";

/** Does `work` to its end and throws what it did wrong, by itself or on the GPU. */
export async function scoped(gpu: Gpu, work: () => Promise<void>): Promise<void> {
  pushScopes(gpu);
  const [outcome] = await Promise.allSettled([work()]);
  const error = await popScopes(gpu);
  if (error) throw new Error(error.message);
  if (outcome.status === "rejected") throw outcome.reason;
}

/** Starts `work` and waits for it, but tells only of errors that the GPU has of its synchronous part. */
export async function scopedStart<T>(gpu: Gpu, work: () => Promise<T>): Promise<T> {
  pushScopes(gpu);
  const value = work();
  const [done, error] = await Promise.all([value, popScopes(gpu)]);
  if (error) throw new Error(error.message);
  return done;
}

export function pushScopes({ device }: Gpu): void {
  device.pushErrorScope("internal");
  device.pushErrorScope("validation");
}

/** The first error since; none where the device is gone, which tells of itself. */
export async function popScopes({ device }: Gpu): Promise<GPUError | undefined> {
  const scopes = [device.popErrorScope(), device.popErrorScope()];
  const found = await Promise.all(scopes.map((scope) => scope.catch(() => null)));
  return found.find((error) => error !== null) ?? undefined;
}

/** `work`, or an AbortedError as soon as the signal says so, with the GPU still at work. */
export async function unlessAborted(
  work: Promise<void>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const settled = new AbortController();
  const aborted = new Promise<void>((_, reject) => {
    const end = () => reject(new AbortedError());
    if (signal?.aborted) end();
    signal?.addEventListener("abort", end, { signal: settled.signal });
  });
  try {
    await Promise.race([work, aborted]);
  } finally {
    settled.abort(); // the listener goes
  }
}

/** The first line alone: drivers and compilers add pages. */
export function failureOf(error: unknown): Fault {
  const [line = ""] = messageOf(error).split("\n");
  return { kind: "failed", words: line.replace(/^internal: /, "").slice(0, 200) };
}
