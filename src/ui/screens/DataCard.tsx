// One data set of the list: whether to train on it, what it holds, and what can be done with it.
import { createUniqueId, Show } from "solid-js";
import { formatBytes, formatCount } from "../../base/format.ts";
import type { StoredData } from "../../services/api.ts";
import { Badge } from "../parts/Bits.tsx";
import { Button } from "../parts/Button.tsx";
import { saveFile } from "../save-file.ts";
import { useSession, useText } from "../session.ts";

export function DataCard(props: {
  readonly data: StoredData;
  readonly onRename: () => void;
  readonly onDelete: () => void;
}) {
  const { app, data } = useSession();
  const text = useText();
  const id = createUniqueId();
  const isChosen = () => data.selected().some((set) => set.id === props.data.id);
  const choose = (isWanted: boolean) => {
    const others = data
      .selected()
      .map((set) => set.id)
      .filter((other) => other !== props.data.id);
    data.select(isWanted ? [...others, props.data.id] : others);
  };
  const save = () =>
    app.attempt(async () => {
      saveFile(await data.file(props.data.id), `${props.data.name.replace(/\.\w+$/, "")}.jsonl`);
    });
  return (
    <li class="card" classList={{ "is-chosen": isChosen() }}>
      <div class="check">
        <input
          id={id}
          type="checkbox"
          checked={isChosen()}
          disabled={props.data.format === null}
          aria-label={text().data.list.use(props.data.name)}
          onChange={(event) => choose(event.currentTarget.checked)}
        />
        <h3 class="data-name">
          <label for={id}>{props.data.name}</label>
        </h3>
      </div>
      <p class="row small quiet">
        <span>{text().data.list.rows(formatCount(props.data.rows))}</span>
        <span>{props.data.format ?? ""}</span>
        <span>{formatBytes(props.data.bytes)}</span>
        <Show when={props.data.format === null}>
          <Badge kind="warn">{text().data.list.needsColumns}</Badge>
        </Show>
        <Show when={props.data.broken > 0}>
          <Badge kind="warn">{text().data.list.problems(formatCount(props.data.broken))}</Badge>
        </Show>
      </p>
      <div class="row data-card-actions">
        <Button
          kind="subtle"
          aria-pressed={data.shown()?.id === props.data.id}
          onClick={() => data.show(props.data.id)}
        >
          {data.shown()?.id === props.data.id ? text().data.list.isShown : text().data.list.look}
        </Button>
        <Button kind="subtle" onClick={() => props.onRename()}>
          {text().app.rename}
        </Button>
        <Button kind="subtle" disabled={props.data.format === null} onClick={() => void save()}>
          {text().data.list.download}
        </Button>
        <Button kind="subtle danger" onClick={() => props.onDelete()}>
          {text().app.delete}
        </Button>
      </div>
    </li>
  );
}
