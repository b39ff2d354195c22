// What is being copied or downloaded into the browser's storage, and how fast.
import { createSignal } from "solid-js";
import { createStore } from "solid-js/store";
import type { Progress } from "../services/api.ts";
import { addSample, rateOf, type RateSample, type TransferRate } from "./transfer-rate.ts";
import { callback } from "./workers.ts";

export interface Transfer {
  /** The repo of a download. */
  readonly key: string;
  readonly kind: "download" | "copy" | "embedded";
  readonly name: string;
  readonly bytes: number;
  /** 0 until it is known. */
  readonly totalBytes: number;
  readonly rate: TransferRate | undefined;
  /** It was asked to end. */
  readonly isEnding: boolean;
}

export interface Transfers {
  readonly list: () => readonly Transfer[];
  /** Shows an action while it goes on. `tell` is for a worker to be told with. */
  follow<T>(
    what: Pick<Transfer, "key" | "kind" | "name">,
    action: (tell: Progress) => Promise<T>,
  ): Promise<T>;
  markEnding(key: string): void;
}

export function createTransfers(): Transfers {
  const [store, setStore] = createStore<Record<string, Transfer>>({});
  // The order, apart: a store's keys say nothing of when they came.
  const [keys, setKeys] = createSignal<readonly string[]>([]);
  return {
    list: () => keys().flatMap((key) => store[key] ?? []),
    async follow(what, action) {
      const { key } = what;
      const start = { ...what, bytes: 0, totalBytes: 0, rate: undefined, isEnding: false };
      setStore(key, start);
      setKeys((others) => [...others.filter((other) => other !== key), key]);
      let samples: readonly RateSample[] = [];
      const tell: Progress = (bytes, totalBytes) => {
        samples = addSample(samples, { timeMs: performance.now(), bytes });
        setStore(key, { bytes, totalBytes, rate: rateOf(samples, totalBytes) });
      };
      try {
        return await action(callback(tell));
      } finally {
        setKeys((all) => all.filter((other) => other !== key));
      }
    },
    markEnding: (key) => setStore(key, { isEnding: true }),
  };
}
