// What a run takes on each model, with the recipe and the memory limit of the moment. Each is worked out once.
import { createStore, reconcile } from "solid-js/store";
import { messageOf } from "../base/error.ts";
import type { RunEstimate } from "../services/api.ts";
import type { SliceContext } from "./session.ts";

/** An estimate, or why there is none. */
export type Estimated =
  | { readonly estimate: RunEstimate; readonly problem?: undefined }
  | { readonly estimate?: undefined; readonly problem: string };

export interface Estimates {
  estimateOf(modelId: string): Estimated | undefined;
  wantEstimate(modelId: string): void;
}

export function createEstimates({ workers, session }: SliceContext): Estimates {
  const [known, setKnown] = createStore<Record<string, Estimated>>({});
  const asked = new Set<string>();
  // One at a time: each lays out a whole run.
  let queue = Promise.resolve();

  // The chosen model and data are in the recipe by name; another choice changes nothing here.
  const keyOf = (modelId: string) => {
    const { check, recipe } = session();
    const config = { ...recipe.config(), model: "", data: "" };
    return JSON.stringify([modelId, check.budgetBytes(), config]);
  };

  return {
    estimateOf: (modelId) =>
      session().check.gpu() === undefined ? undefined : known[keyOf(modelId)],
    wantEstimate(modelId) {
      const { check, recipe } = session();
      if (check.gpu() === undefined) return;
      const key = keyOf(modelId);
      if (asked.has(key)) return;
      asked.add(key);
      const [config, budgetBytes] = [recipe.config(), check.budgetBytes()];
      queue = queue
        .then(() => workers.engine.estimate(modelId, config, budgetBytes, config.eval_split > 0))
        .then(
          (estimate) => setKnown(key, reconcile<Estimated, Estimated>({ estimate })),
          (error: unknown) => {
            asked.delete(key); // it may have been the network
            setKnown(key, reconcile<Estimated, Estimated>({ problem: messageOf(error) }));
          },
        );
    },
  };
}
