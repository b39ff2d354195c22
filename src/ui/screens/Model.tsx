// Model: what is in the browser's storage to choose from, and the ways to add to it.
import "./model.css";
import { createSignal, For, Match, onMount, Show, Switch } from "solid-js";
import type { StoredModel } from "../../services/api.ts";
import { Button } from "../parts/Button.tsx";
import { Notice } from "../parts/Notice.tsx";
import { Screen } from "../parts/Screen.tsx";
import { useSession, useText } from "../session.ts";
import { AdapterCard, EmbeddedCard, ModelCard, PartialCard } from "./ModelCards.tsx";
import { isComplete } from "../model-library.ts";
import { ModelDelete } from "./ModelDelete.tsx";
import { ModelFiles } from "./ModelFiles.tsx";
import { ModelHub } from "./ModelHub.tsx";
import { ModelStorage } from "./ModelStorage.tsx";
import { TransferProgress } from "./ModelTransfer.tsx";

export function Model() {
  const { app, models } = useSession();
  const text = useText();
  const [toDelete, setToDelete] = createSignal<StoredModel>();
  // Another screen sends here for a model that it lacks: "#/model?find=org/name".
  onMount(() => {
    const wanted = app.route().parameters.get("find");
    if (wanted) void models.lookUp(wanted);
  });
  return (
    <Screen
      title={text().library.model.title}
      lead={text().library.model.lead}
      summary={
        models.selected()
          ? text().library.model.chosen(models.selected()?.name ?? "")
          : text().library.model.noneChosen
      }
      actions={
        <Button kind="primary" disabled={!models.selected()} onClick={() => app.go("data")}>
          {text().app.next(text().app.screens.data)}
        </Button>
      }
    >
      <Show when={!models.isOnline()}>
        <Notice
          kind="warn"
          problem={text().library.model.offline.problem}
          remedy={text().library.model.offline.remedy}
        />
      </Show>
      <Shelf onDelete={setToDelete} />
      <div class="columns model-ways">
        <ModelHub />
        <ModelFiles />
      </div>
      <ModelStorage />
      <ModelDelete model={toDelete()} onClose={() => setToDelete(undefined)} />
    </Screen>
  );
}

/** All that is stored, and what is on its way: base models, then adapters. */
function Shelf(props: { readonly onDelete: (model: StoredModel) => void }) {
  const { models } = useSession();
  const text = useText();
  const hasEmbedded = () => models.list().some(({ origin }) => origin.kind === "embedded");
  // What is on its way has a card that says how it goes.
  const shown = () =>
    models.list().filter(({ origin, name }) => {
      const key = origin.kind === "hub" ? origin.repo : name;
      return !models.transfers().some((transfer) => transfer.key === key);
    });
  const bases = () => shown().filter((model) => model.kind === "model");
  const adapters = () => shown().filter((model) => model.kind === "adapter");
  const transfers = () => {
    const lookup = models.lookup();
    // That one says how it goes where it was found.
    const found = lookup.state === "found" ? lookup.found.repo : undefined;
    return models.transfers().filter(({ key }) => key !== found);
  };
  return (
    <>
      <section class="stack" aria-labelledby="model-here">
        <h2 id="model-here">{text().library.model.here}</h2>
        <Show
          when={models.isListed()}
          fallback={<p class="quiet">{text().library.model.reading}</p>}
        >
          <ul class="columns model-shelf">
            <For each={transfers()}>
              {(transfer) => (
                <li class="card">
                  <TransferProgress transfer={transfer} />
                </li>
              )}
            </For>
            <Show when={!hasEmbedded()}>
              <EmbeddedCard />
            </Show>
            <For each={bases()}>
              {(model) => <StoredCard model={model} onDelete={() => props.onDelete(model)} />}
            </For>
          </ul>
        </Show>
      </section>
      <Show when={adapters().length > 0}>
        <section class="stack" aria-labelledby="model-adapters">
          <h2 id="model-adapters">{text().library.model.adapters}</h2>
          <ul class="columns model-shelf">
            <For each={adapters()}>
              {(model) => <StoredCard model={model} onDelete={() => props.onDelete(model)} />}
            </For>
          </ul>
        </section>
      </Show>
    </>
  );
}

function StoredCard(props: { readonly model: StoredModel; readonly onDelete: () => void }) {
  return (
    <Switch fallback={<ModelCard model={props.model} onDelete={props.onDelete} />}>
      <Match when={!isComplete(props.model)}>
        <PartialCard model={props.model} onDelete={props.onDelete} />
      </Match>
      <Match when={props.model.kind === "adapter"}>
        <AdapterCard model={props.model} onDelete={props.onDelete} />
      </Match>
    </Switch>
  );
}
