// What tabs tell each other: how a run goes, and that a list has changed.
import type { RunStatus } from "./api.ts";

const CHANNEL = "hone";

export type Broadcast =
  | {
      readonly type: "run";
      readonly id: string;
      readonly name: string;
      readonly status: RunStatus;
      readonly step: number;
      readonly steps: number;
    }
  | { readonly type: "changed"; readonly what: "models" | "data" | "runs" };

/** Tells every tab, this one's page too. */
export function broadcast(message: Broadcast): void {
  // Opened for the one message: a channel that stays open keeps its thread alive.
  const channel = new BroadcastChannel(CHANNEL);
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a channel is of one origin
  channel.postMessage(message);
  channel.close();
}
