// The one GPU of an engine: opened when it is wanted, and opened anew after it was lost.
import type { Host } from "../engine.ts";
import { type Gpu, type GpuOptions, openGpu } from "../gpu/device.ts";
import { LostInTrialError } from "./tuning/tune.ts";

interface Opened {
  readonly gpu: Gpu;
  readonly adapter: GPUAdapter;
}

export interface Opener {
  open(): Promise<Opened>;
  /** Destroys the device, if there is one, as a driver's reset would. */
  lose(): Promise<void>;
  close(): void;
}

export function createOpener(host: Host, options: GpuOptions): Opener {
  let opening: Promise<Opened> | undefined;
  const openAnew = async (): Promise<Opened> => {
    const adapter = await host.requestAdapter();
    return { gpu: await openGpu(adapter, options), adapter };
  };
  const open = async (): Promise<Opened> => {
    const mine = (opening ??= openAnew());
    // Another call may have opened a new one meanwhile; that stays.
    const forget = () => {
      if (opening === mine) opening = undefined;
    };
    const opened = await mine.catch((error: unknown) => {
      forget();
      throw error;
    });
    if (!opened.gpu.isLost) return opened;
    forget();
    opened.gpu.abandon();
    return open();
  };
  return {
    open,
    async lose() {
      // One that cannot be opened is told to who asked for it.
      const opened = await opening?.catch(() => undefined);
      opened?.gpu.device.destroy();
      await opened?.gpu.device.lost;
    },
    close() {
      // Nothing waits for a device to be gone.
      opening?.then(
        ({ gpu }) => gpu.close(),
        () => {},
      );
      opening = undefined;
    },
  };
}

/**
 * Does work that may try kernel variants first. Where that has cost it its device, it begins again on a new one, once:
 * which variant it was is known by then.
 */
export async function onGpu<T>(opener: Opener, work: (gpu: Gpu) => Promise<T>): Promise<T> {
  const begin = async () => work((await opener.open()).gpu);
  try {
    return await begin();
  } catch (error) {
    if (error instanceof LostInTrialError) return begin();
    throw error;
  }
}
