// How long work takes, whatever else the machine does.

/**
 * Milliseconds of the work by the clock or by the processor, whichever are fewer: the clock counts what other
 * processes took meanwhile, the processor what this one's other threads did.
 */
export async function millisecondsOf(work: () => unknown): Promise<number> {
  const started = performance.now();
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return Math.min(performance.now() - started, (user + system) / 1000);
}
