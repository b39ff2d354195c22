// What other tabs and the workers tell: that a list has changed, and how a run goes. Read again, but never twice at once.
import type { Broadcast } from "../services/broadcast.ts";

/** Calls `heard` with each message, until `stop` is called. */
export function listenForChanges(heard: (message: Broadcast) => void): () => void {
  const channel = new BroadcastChannel("hone");
  channel.addEventListener("message", (event: MessageEvent<Broadcast>) => heard(event.data));
  return () => channel.close();
}

/**
 * An action that is under way at most once. Whoever asks while it is gets the next one, which all who ask
 * meanwhile share: it begins after they asked, and so has read what they wrote.
 */
export function oneAtATime(action: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  const start = (): Promise<void> => {
    const done = action().finally(() => {
      if (running === done) running = undefined;
    });
    running = done;
    return done;
  };
  return () => {
    if (!running) return start();
    next ??= running
      .catch(() => {}) // told to whoever asked for that one
      .then(() => {
        next = undefined;
        return start();
      });
    return next;
  };
}
