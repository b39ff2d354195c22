// Timestamps around pieces of work. Waits; for benchmarks and trials only.
import { invariant } from "../base/error.ts";
import type { Gpu } from "./device.ts";
import { MAP_READ, USAGE } from "./flags.ts";

type Encode = (pass: GPUComputePassEncoder, index: number) => void;

// A query set holds 4096 timestamps, two for each piece.
const MOST_AT_ONCE = 2048;

/** Milliseconds of each of `count` pieces of work, every one in a submit of its own. */
export async function timeEach(gpu: Gpu, count: number, encode: Encode): Promise<number[]> {
  invariant(gpu.hasTimestamps, () => `${gpu.name} has no timestamp-query`);
  const times: number[] = [];
  for (let first = 0; first < count; first += MOST_AT_ONCE) {
    const some = Math.min(count - first, MOST_AT_ONCE);
    times.push(...(await timeSome(gpu, some, (pass, index) => encode(pass, first + index))));
  }
  return times;
}

async function timeSome(gpu: Gpu, count: number, encode: Encode): Promise<number[]> {
  const { device } = gpu;
  const querySet = device.createQuerySet({ label: "times", type: "timestamp", count: 2 * count });
  const bytes = 2 * count * 8;
  const resolved = gpu.buffer("times.resolved", bytes, USAGE.queryResolve | USAGE.copySource);
  const staging = gpu.buffer("times.staging", bytes, USAGE.mapRead | USAGE.copyTarget);
  try {
    await gpu.check();
    for (let index = 0; index < count; index++) {
      const encoder = device.createCommandEncoder();
      const beginningOfPassWriteIndex = index * 2;
      const endOfPassWriteIndex = index * 2 + 1;
      const pass = encoder.beginComputePass({
        timestampWrites: { querySet, beginningOfPassWriteIndex, endOfPassWriteIndex },
      });
      encode(pass, index);
      pass.end();
      device.queue.submit([encoder.finish()]);
    }
    const encoder = device.createCommandEncoder({ label: "times.resolve" });
    encoder.resolveQuerySet(querySet, 0, 2 * count, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, staging, 0, bytes);
    device.queue.submit([encoder.finish()]);
    await gpu.unlessLost(staging.mapAsync(MAP_READ));
    return piecesOf(new BigUint64Array(staging.getMappedRange().slice(0)));
  } finally {
    querySet.destroy();
    gpu.freeBuffer(resolved);
    gpu.freeBuffer(staging);
  }
}

/**
 * Milliseconds of each piece, from [begun, ended, begun, ended, …] in nanoseconds. A pass may say that it has begun
 * while it waits for the one before it (Vulkan writes that time before the barriers of its first dispatch), so a
 * piece begins no sooner than the one before it ended.
 */
export function piecesOf(ticks: BigUint64Array): number[] {
  return Array.from({ length: ticks.length / 2 }, (_, index) => {
    const [begun = 0n, ended = 0n] = ticks.subarray(2 * index);
    const before = (index > 0 && ticks[2 * index - 1]) || 0n;
    const from = begun > before ? begun : before;
    return ended > from ? Number(ended - from) / 1e6 : 0;
  });
}
