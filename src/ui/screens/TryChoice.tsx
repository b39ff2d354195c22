// What to talk to: a model, and what was trained onto it.
import { createMemo, createSignal, Match, Show, Switch } from "solid-js";
import type { StoredModel } from "../../services/api.ts";
import { adaptersFor, keyOf, shareLink } from "../adapter-choices.ts";
import { BytesProgress, KernelsProgress } from "../parts/Bits.tsx";
import { Button } from "../parts/Button.tsx";
import { SelectField } from "../parts/Fields.tsx";
import { ErrorNotice, Notice } from "../parts/Notice.tsx";
import { useSession, useText } from "../session.ts";
import type { Choice } from "../session-try.ts";

const NO_ADAPTER = "none";
const KV_CACHES = ["auto", "f16", "int8"] as const;

export function TryChoice(props: { readonly bases: readonly StoredModel[] }) {
  const { tryout, models, runs, live } = useSession();
  const text = useText();
  const words = () => text().live.tryout.choose;
  const adaptersOf = (model: StoredModel) => adaptersFor(model, models.list(), runs.list());
  const begin = (model: StoredModel): Choice => {
    const first = adaptersOf(model)[0];
    const kvCache = tryout.choice()?.kvCache ?? "auto";
    return { modelId: model.id, adapter: first?.adapter, quantization: "nf4", kvCache };
  };
  /** What a visit begins with: the newest run's model and adapter, else the model chosen for the next run. */
  const suggested = createMemo((): Choice | undefined => {
    const run = runs.list().find(({ checkpoint, modelId }) => {
      return checkpoint !== null && props.bases.some(({ id }) => id === modelId);
    });
    const first = props.bases.find(({ id }) => id === run?.modelId);
    const model = first ?? models.selected() ?? props.bases[0];
    return model && begin(model);
  });
  const choice = () => tryout.choice() ?? suggested();
  const model = () => props.bases.find(({ id }) => id === choice()?.modelId);
  const adapters = createMemo(() => {
    const chosen = model();
    return chosen ? adaptersOf(chosen) : [];
  });
  const key = () => {
    const adapter = choice()?.adapter;
    return adapter ? keyOf(adapter) : NO_ADAPTER;
  };
  const checkpoints = () =>
    adapters().find((candidate) => candidate.key === key())?.checkpoints ?? [];
  const change = (changes: Partial<Choice>) => {
    const known = choice();
    if (known) tryout.setChoice({ ...known, ...changes });
  };
  const open = () => {
    const known = choice();
    if (!known) return;
    tryout.setChoice(known);
    void tryout.open();
  };
  const isBlocked = () => live.isRunning() && live.record()?.status !== "paused";
  return (
    <section class="card" aria-labelledby="try-choice">
      <div class="row apart">
        <h2 id="try-choice">{words().title}</h2>
        <ShareButton choice={choice()} />
      </div>
      <div class="columns">
        <SelectField
          label={words().model}
          value={choice()?.modelId ?? ""}
          options={props.bases.map(({ id, name }) => ({ value: id, label: name }))}
          onChange={(id) => {
            const chosen = props.bases.find((base) => base.id === id);
            if (chosen) tryout.setChoice(begin(chosen));
          }}
        />
        <SelectField
          label={words().adapter}
          value={key()}
          options={[
            ...adapters().map((candidate) => ({
              value: candidate.key,
              label:
                candidate.adapter.kind === "run"
                  ? words().ofRun(candidate.name)
                  : words().imported(candidate.name),
            })),
            { value: NO_ADAPTER, label: words().none },
          ]}
          onChange={(chosen) =>
            change({ adapter: adapters().find((candidate) => candidate.key === chosen)?.adapter })
          }
        />
        <Show when={checkpoints().length > 1}>
          <SelectField
            label={words().checkpoint}
            value={runCheckpoint(choice())}
            options={checkpoints().map((name) => ({ value: name, label: name }))}
            onChange={(checkpoint) => {
              const adapter = choice()?.adapter;
              if (adapter?.kind === "run") change({ adapter: { ...adapter, checkpoint } });
            }}
          />
        </Show>
        <SelectField
          label={words().quantization}
          value={choice()?.quantization ?? "nf4"}
          options={[
            { value: "nf4", label: words().nf4 },
            { value: "none", label: words().plain },
          ]}
          onChange={(quantization) => change({ quantization })}
        />
        <SelectField
          label={words().kvCache}
          value={choice()?.kvCache ?? "auto"}
          options={KV_CACHES.map((value) => ({ value, label: words().kvCaches[value] }))}
          onChange={(kvCache) => change({ kvCache })}
        />
      </div>
      <Switch
        fallback={
          <div class="row">
            <Button
              kind={tryout.shared.state() ? "plain" : "primary"}
              disabled={isBlocked()}
              onClick={open}
            >
              {tryout.state() === "stale" ? words().reopen : words().open}
            </Button>
            <Show when={isBlocked()}>
              <p class="small quiet">{words().training}</p>
            </Show>
          </div>
        }
      >
        <Match when={tryout.state() === "opening"}>
          <OpeningProgress />
        </Match>
        <Match when={tryout.state() === "open"}>
          <div class="row apart">
            <p role="status">{words().ready(tryout.info()?.template.name ?? "")}</p>
            <div class="row">
              <Button kind="subtle" onClick={() => void tryout.close()}>
                {words().close}
              </Button>
              <ExportButton choice={choice()} />
            </div>
          </div>
        </Match>
      </Switch>
      {/* Told twice at most: a reader of the screen would trip over every step. */}
      <p class="visually-hidden" role="status">
        <Show when={tryout.state() === "opening"}>
          {tryout.opening().trying ? text().app.tryingKernels : words().opening}
        </Show>
      </p>
      <Show when={tryout.problem()}>{(problem) => <ErrorNotice message={problem()} />}</Show>
      <Show when={tryout.state() === "open" && tryout.info()?.template.warning}>
        {(warning) => <Notice kind="warn" problem={warning()} />}
      </Show>
    </section>
  );
}

/** Two bars of one height, so that nothing moves when trying ends and loading begins. */
function OpeningProgress() {
  const { tryout } = useSession();
  const text = useText();
  return (
    <Show
      when={tryout.opening().trying}
      fallback={<BytesProgress label={text().live.tryout.choose.opening} {...tryout.opening()} />}
    >
      {(trying) => <KernelsProgress {...trying()} />}
    </Show>
  );
}

function runCheckpoint(choice: Choice | undefined): string {
  return choice?.adapter?.kind === "run" ? choice.adapter.checkpoint : "";
}

/** Offered for what was trained here. */
function ExportButton(props: { readonly choice: Choice | undefined }) {
  const { exports } = useSession();
  const text = useText();
  const ofRun = () => {
    const adapter = props.choice?.adapter;
    return adapter?.kind === "run" && adapter;
  };
  return (
    <Show when={ofRun()}>
      {(adapter) => (
        <Button onClick={() => exports.choose(adapter().runId, adapter().checkpoint)}>
          {text().live.tryout.choose.export}
        </Button>
      )}
    </Show>
  );
}

/** Offered for an adapter that others can fetch too. */
function ShareButton(props: { readonly choice: Choice | undefined }) {
  const { models, app } = useSession();
  const text = useText();
  const [isCopied, setIsCopied] = createSignal(false);
  const link = () => {
    const adapter = props.choice?.adapter;
    if (adapter?.kind !== "imported") return undefined;
    const stored = models.list().find(({ id }) => id === adapter.adapterId);
    const base = models.list().find(({ id }) => id === props.choice?.modelId);
    return stored && shareLink(location.href, stored, base);
  };
  const copy = (address: string) =>
    app.attempt(async () => {
      await navigator.clipboard.writeText(address);
      setIsCopied(true);
      setTimeout(() => setIsCopied(false), 2000);
    });
  return (
    <Show when={link()}>
      {(address) => (
        <Button kind="subtle" onClick={() => void copy(address())} aria-live="polite">
          {isCopied() ? text().live.tryout.share.copied : text().live.tryout.share.link}
        </Button>
      )}
    </Show>
  );
}
