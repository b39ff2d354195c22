// Which adapters go on which model, and links that name them.
import type { AdapterRef, RunRecord, StoredModel } from "../services/api.ts";

export interface AdapterChoice {
  /** For a list of choices: the reference as text. */
  readonly key: string;
  readonly adapter: AdapterRef;
  readonly name: string;
  /** Newest checkpoint first; of an imported adapter none. */
  readonly checkpoints: readonly string[];
}

/** Runs with a checkpoint on that model, and the imported adapters made for it or for no model known here. */
export function adaptersFor(
  model: StoredModel,
  models: readonly StoredModel[],
  runs: readonly RunRecord[],
): AdapterChoice[] {
  const ofRuns = runs.flatMap((run): AdapterChoice[] => {
    const { id: runId, checkpoint } = run;
    if (run.modelId !== model.id || checkpoint === null) return [];
    const adapter = { kind: "run", runId, checkpoint } as const;
    return [
      { key: `run:${runId}`, adapter, name: run.name, checkpoints: run.checkpoints.toReversed() },
    ];
  });
  const imported = models.flatMap((stored): AdapterChoice[] => {
    if (stored.kind !== "adapter" || !suits(stored, model, models)) {
      return [];
    }
    const adapter = { kind: "imported", adapterId: stored.id } as const;
    return [{ key: keyOf(adapter), adapter, name: stored.name, checkpoints: [] }];
  });
  return [...ofRuns, ...imported];
}

export function keyOf(adapter: AdapterRef): string {
  return adapter.kind === "run" ? `run:${adapter.runId}` : `imported:${adapter.adapterId}`;
}

/** The stored base that a name in an adapter's config means: a hub id, or the last part of a path. */
export function findBase(
  name: string | undefined,
  models: readonly StoredModel[],
): StoredModel | undefined {
  if (name === undefined) return undefined;
  const bases = models.filter(({ kind }) => kind === "model");
  return (
    bases.find(({ origin }) => origin.kind === "hub" && origin.repo === name) ??
    bases.find((model) => model.name === name || model.id === name) ??
    bases.find((model) => lastPart(model.name) === lastPart(name))
  );
}

/** Address of the page's Try screen with an adapter of the hub; undefined where others could not fetch it. */
export function shareLink(
  page: string,
  adapter: StoredModel,
  base: StoredModel | undefined,
): string | undefined {
  if (adapter.origin.kind !== "hub") return undefined;
  const model = base?.origin.kind === "hub" ? base.origin.repo : base?.name;
  const query = new URLSearchParams({
    adapter: adapter.origin.repo,
    ...(model !== undefined && { model }),
  });
  return `${page.split("#", 1)[0] ?? ""}#/try?${query.toString()}`;
}

function suits(adapter: StoredModel, model: StoredModel, models: readonly StoredModel[]): boolean {
  const base = findBase(adapter.baseModel, models);
  return base === undefined || base.id === model.id;
}

function lastPart(name: string): string {
  return name.replace(/\/+$/, "").split("/").at(-1)?.toLowerCase() ?? "";
}
