// Keeps the screen on while there is reason to. The browser lets go of it whenever the page is hidden.
import { createEffect, createSignal, onCleanup } from "solid-js";

/** `refused`: the browser would not, as on a low battery. */
export type WakeState = "off" | "held" | "refused" | "unavailable";

/** Holds the screen's lock while `isWanted` and the page is seen. */
export function createWakeLock(isWanted: () => boolean): () => WakeState {
  const isOffered = "wakeLock" in navigator;
  const [state, setState] = createSignal<WakeState>(isOffered ? "off" : "unavailable");
  if (!isOffered) return state;
  let held: WakeLockSentinel | undefined;
  const take = async () => {
    if (held || !isWanted() || document.visibilityState !== "visible") return;
    try {
      const lock = await navigator.wakeLock.request("screen");
      lock.addEventListener("release", () => {
        if (held === lock) held = undefined;
        setState("off");
      });
      held = lock;
      setState("held");
      if (!isWanted()) await lock.release();
    } catch {
      setState("refused");
    }
  };
  createEffect(() => {
    if (isWanted()) void take();
    else {
      void held?.release();
      setState("off");
    }
  });
  const onVisible = () => void take();
  document.addEventListener("visibilitychange", onVisible);
  onCleanup(() => document.removeEventListener("visibilitychange", onVisible));
  return state;
}
