// A look-up on the hub as a screen shows it: nothing yet, under way, what was found, or why nothing was.
import { type Accessor, createSignal } from "solid-js";
import { messageOf } from "../base/error.ts";

export type Lookup<Found> =
  | { readonly state: "none" }
  | { readonly state: "looking"; readonly text: string }
  | { readonly state: "found"; readonly text: string; readonly found: Found }
  | { readonly state: "failed"; readonly text: string; readonly problem: string };

export interface Lookups<Found> {
  readonly shown: Accessor<Lookup<Found>>;
  /** Shows the search for `text` and what came of it; tells whether that was found and is still wanted. */
  follow(text: string, search: Promise<Found>): Promise<boolean>;
  readonly clear: () => void;
  /** Clears what was found if it is the one meant. */
  clearIf(isMeant: (found: Found) => boolean): void;
}

export function createLookups<Found>(): Lookups<Found> {
  const [shown, setShown] = createSignal<Lookup<Found>>({ state: "none" });
  const clear = () => setShown({ state: "none" });
  return {
    shown,
    async follow(text, search) {
      const looking: Lookup<Found> = { state: "looking", text };
      setShown(looking);
      const outcome = await search.then(
        (found): Lookup<Found> => ({ state: "found", text, found }),
        (error: unknown): Lookup<Found> => ({ state: "failed", text, problem: messageOf(error) }),
      );
      if (shown() !== looking) return false; // another was asked for meanwhile
      setShown(outcome);
      return outcome.state === "found";
    },
    clear,
    clearIf(isMeant) {
      const now = shown();
      if (now.state === "found" && isMeant(now.found)) clear();
    },
  };
}
