// Data: what there is to train on, the ways to add to it, and a look inside, as the model will see it.
import "./data.css";
import { createSignal, For, Show } from "solid-js";
import { formatCount } from "../../base/format.ts";
import type { StoredData } from "../../services/api.ts";
import { Button } from "../parts/Button.tsx";
import { Empty } from "../parts/Bits.tsx";
import { Screen } from "../parts/Screen.tsx";
import { useSession, useText } from "../session.ts";
import { DataAdd } from "./DataAdd.tsx";
import { DataCard } from "./DataCard.tsx";
import { DataDelete, DataRename } from "./DataDialogs.tsx";
import { DataFunnel } from "./DataFunnel.tsx";
import { DataInside } from "./DataInside.tsx";

export function Data() {
  const { app, data } = useSession();
  const text = useText();
  const isEmpty = () => data.isListed() && data.list().length === 0;
  const summary = () => {
    const chosen = data.selected();
    if (chosen.length === 0) return text().data.noneChosen;
    const rows = chosen.reduce((sum, { rows: own, broken }) => sum + own - broken, 0);
    return text().data.chosen(chosen.map(({ name }) => name).join(", "), formatCount(rows));
  };
  return (
    <Screen
      title={text().data.title}
      lead={text().data.lead}
      summary={summary()}
      actions={
        <Button
          kind="primary"
          disabled={data.selected().length === 0}
          onClick={() => app.go("recipe")}
        >
          {text().app.next(text().app.screens.recipe)}
        </Button>
      }
    >
      <Show when={isEmpty()}>
        <Empty title={text().data.add.emptyTitle}>{text().data.add.empty}</Empty>
      </Show>
      <DataAdd />
      <Show when={data.list().length > 0}>
        <Sets />
      </Show>
      <Show when={data.selected().length > 0}>
        <DataFunnel />
      </Show>
      <Show when={data.shown()}>
        {(shown) => (
          // A set that was mapped anew has other rows under the same id.
          <Show when={JSON.stringify([shown().id, shown().bytes, shown().mapping])} keyed>
            <DataInside data={shown()} />
          </Show>
        )}
      </Show>
    </Screen>
  );
}

function Sets() {
  const { data } = useSession();
  const text = useText();
  const [toRename, setToRename] = createSignal<StoredData>();
  const [toDelete, setToDelete] = createSignal<StoredData>();
  return (
    <section class="stack tight" aria-labelledby="data-sets">
      <h2 id="data-sets">{text().data.list.title}</h2>
      <ul class="columns data-shelf">
        <For each={data.list()}>
          {(set) => (
            <DataCard
              data={set}
              onRename={() => setToRename(set)}
              onDelete={() => setToDelete(set)}
            />
          )}
        </For>
      </ul>
      <DataRename data={toRename()} onClose={() => setToRename(undefined)} />
      <DataDelete data={toDelete()} onClose={() => setToDelete(undefined)} />
    </section>
  );
}
