// Lets Node sleep while Dawn works.
//
// As long as anything is under way, Dawn's binding looks for its events in every turn of the event loop, by
// setImmediate. A core spins then, and takes again and again the lock that compiling needs: on two cores, a
// software GPU was two to four times as slow for it (webgpu 0.6.2). This file can go when the binding waits.

// What a GPU has to do is often done this soon, and then a millisecond is long.
const EAGER_MS = 2;
const CALM_MS = 1;

let isCalm = false;

/** From now on Dawn looks for events in every turn for EAGER_MS after it was asked something, then every CALM_MS. */
export function calmDawn(): void {
  if (isCalm) return;
  isCalm = true;
  let isLooking = false;
  let askedAt = 0;
  const { setTimeout, performance } = globalThis; // those of a test may be others
  globalThis.setImmediate = new Proxy(globalThis.setImmediate, {
    apply(setImmediate, self, args: Parameters<typeof globalThis.setImmediate>) {
      const [look] = args;
      if (!isDawns(look)) return Reflect.apply(setImmediate, self, args);
      // Called while it looks, it means to go on looking; otherwise something was asked.
      if (!isLooking) askedAt = performance.now();
      const lookOnce = () => {
        isLooking = true;
        try {
          look();
        } finally {
          isLooking = false;
        }
      };
      const isEager = performance.now() - askedAt < EAGER_MS;
      return isEager ? setImmediate(lookOnce) : setTimeout(lookOnce, CALM_MS);
    },
  });
}

/** A native function without a name; one that was bound has "bound" in it. */
function isDawns(callback: () => void): boolean {
  return callback.name === "" && String(callback).includes("[native code]");
}
