// A share link: an adapter of the hub that the address names, looked up, fetched with its base, and opened.
//
// The address comes from anybody: nothing is fetched before the person has seen what and how large.
import { createEffect, createSignal, untrack } from "solid-js";
import { messageOf, UserError } from "../base/error.ts";
import type { AdapterRef, HubModel, StoredModel } from "../services/api.ts";
import { findBase } from "./adapter-choices.ts";
import type { SliceContext } from "./session.ts";
import { callback } from "./workers.ts";

/** Stored here already, or as the hub has it. */
export type Found =
  | { readonly stored: StoredModel; readonly hub?: never }
  | { readonly hub: HubModel; readonly stored?: never };

export type SharedState =
  | { readonly step: "looking"; readonly name: string }
  | { readonly step: "offer"; readonly name: string; readonly adapter: Found; readonly base: Found }
  | {
      readonly step: "fetching";
      readonly name: string;
      /** What is being fetched. */
      readonly repo: string;
      readonly bytes: number;
      readonly totalBytes: number;
    }
  | { readonly step: "failed"; readonly name: string; readonly problem: string };

export interface SharedAdapter {
  readonly state: () => SharedState | undefined;
  /** Fetches what is missing, and opens it. */
  accept(): Promise<void>;
  /** Looks again, after a failure. */
  again(): Promise<void>;
  dismiss(): void;
}

export function createSharedAdapter(
  context: SliceContext,
  choose: (modelId: string, adapter: AdapterRef) => void,
): SharedAdapter {
  const { app, session } = context;
  const [state, setState] = createSignal<SharedState>();
  const fail = (name: string, error: unknown) =>
    setState({ step: "failed", name, problem: messageOf(error) });
  const look = async (name: string, model: string | undefined) => {
    setState({ step: "looking", name });
    try {
      const { adapter, base } = await findBoth(context, name, model);
      // Another link may have been followed meanwhile.
      if (state()?.name === name) setState({ step: "offer", name, adapter, base });
    } catch (error) {
      if (state()?.name === name) fail(name, error);
    }
  };
  const lookAtAddress = async () => {
    const { parameters } = app.route();
    const name = parameters.get("adapter");
    if (name !== null) await look(name, parameters.get("model") ?? undefined);
  };
  createEffect(() => {
    const { name, parameters } = app.route();
    if (name !== "try" || !parameters.has("adapter") || !session().models.isListed()) return;
    void untrack(lookAtAddress);
  });
  return {
    state,
    again: lookAtAddress,
    async accept() {
      const offer = state();
      if (offer?.step !== "offer") return;
      const { name } = offer;
      const get = async ({ stored, hub }: Found): Promise<StoredModel> => {
        if (stored) return stored;
        const { repo, totalBytes } = hub;
        setState({ step: "fetching", name, repo, bytes: hub.partialBytes, totalBytes });
        const onProgress = (bytes: number, total: number) =>
          setState({ step: "fetching", name, repo, bytes, totalBytes: total });
        return context.workers.data.download(hub, callback(onProgress));
      };
      try {
        const adapter = await get(offer.adapter);
        const base = await get(offer.base);
        await session().models.refresh();
        setState(undefined);
        choose(base.id, { kind: "imported", adapterId: adapter.id });
      } catch (error) {
        fail(name, error);
      }
    },
    dismiss() {
      setState(undefined);
      app.go("try");
    },
  };
}

async function findBoth(
  context: SliceContext,
  name: string,
  model: string | undefined,
): Promise<{ adapter: Found; base: Found }> {
  const { models } = context.session();
  const stored = models
    .list()
    .find(
      ({ kind, origin }) => kind === "adapter" && origin.kind === "hub" && origin.repo === name,
    );
  const adapter: Found = stored ? { stored } : { hub: await resolve(context, name, "adapter") };
  const baseName = model ?? (adapter.stored ?? adapter.hub).baseModel;
  if (baseName === undefined) {
    throw new UserError(
      `${name} does not say which model it is for.`,
      "Add &model= and the model's id on the hub to the link.",
    );
  }
  const base = findBase(baseName, models.list());
  if (base) return { adapter, base: { stored: base } };
  if (/(^|\/)seedling$/.test(baseName)) {
    return { adapter, base: { stored: await models.ensureEmbedded() } };
  }
  return { adapter, base: { hub: await resolve(context, baseName, "model") } };
}

async function resolve(
  { workers }: SliceContext,
  name: string,
  kind: HubModel["kind"],
): Promise<HubModel> {
  const found = await workers.data.resolveHub(name);
  if (found.refusal !== undefined) throw new Error(found.refusal);
  if (found.kind === kind) return found;
  throw new UserError(
    `${name} is ${found.kind === "model" ? "a whole model" : "an adapter"}, where the link needs ${kind === "model" ? "a whole model" : "an adapter"}.`,
    "Ask for a corrected link.",
  );
}
