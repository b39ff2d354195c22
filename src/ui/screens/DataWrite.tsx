// A small editor for examples written by hand: questions and answers, one conversation below the other.
import { createSignal, For, Index, Show } from "solid-js";
import { createStore } from "solid-js/store";
import { formatCount } from "../../base/format.ts";
import { Button } from "../parts/Button.tsx";
import { Dialog } from "../parts/Dialog.tsx";
import { TextField } from "../parts/Fields.tsx";
import { useSession, useText } from "../session.ts";
import { type WrittenExample, writtenRows } from "../data-view.ts";

const newExample = (): WrittenExample => ({ system: "", turns: [{ user: "", assistant: "" }] });

export function DataWrite(props: { readonly isOpen: boolean; readonly onClose: () => void }) {
  const { data } = useSession();
  const text = useText();
  const words = () => text().data.write;
  const [name, setName] = createSignal("");
  const [store, setStore] = createStore<{ examples: WrittenExample[] }>({
    examples: [newExample()],
  });
  const rows = () => writtenRows(store.examples);
  const add = () => {
    void data.addRows(name().trim() || words().defaultName, rows() ?? []);
    setStore("examples", [newExample()]);
    setName("");
    props.onClose();
  };
  return (
    <Dialog
      isOpen={props.isOpen}
      onClose={() => props.onClose()}
      title={words().title}
      actions={
        <Button disabled={!rows()?.length} onClick={add}>
          {words().save(formatCount(rows()?.length ?? 0))}
        </Button>
      }
    >
      <TextField
        label={words().name}
        value={name()}
        placeholder={words().defaultName}
        onInput={setName}
        onChange={setName}
      />
      <Index each={store.examples}>
        {(example, i) => (
          <fieldset class="card data-written">
            <legend class="small">{words().example(formatCount(i + 1))}</legend>
            <Show when={i === 0 || example().system !== ""}>
              <TextField
                label={words().system}
                value={example().system}
                onChange={(system) => setStore("examples", i, { system })}
              />
            </Show>
            <For each={example().turns.map((_, turn) => turn)}>
              {(turn) => (
                <>
                  <TextField
                    label={words().user}
                    rows={2}
                    value={example().turns[turn]?.user ?? ""}
                    onChange={(user) => setStore("examples", i, "turns", turn, { user })}
                    onInput={(user) => setStore("examples", i, "turns", turn, { user })}
                  />
                  <TextField
                    label={words().assistant}
                    rows={2}
                    value={example().turns[turn]?.assistant ?? ""}
                    onChange={(assistant) => setStore("examples", i, "turns", turn, { assistant })}
                    onInput={(assistant) => setStore("examples", i, "turns", turn, { assistant })}
                  />
                </>
              )}
            </For>
            <div class="row">
              <Button
                kind="subtle"
                onClick={() =>
                  setStore("examples", i, "turns", (turns) => [
                    ...turns,
                    { user: "", assistant: "" },
                  ])
                }
              >
                {words().addTurn}
              </Button>
              <Show when={store.examples.length > 1}>
                <Button
                  kind="subtle danger"
                  onClick={() =>
                    setStore("examples", (examples) => examples.filter((_, other) => other !== i))
                  }
                >
                  {words().removeExample(formatCount(i + 1))}
                </Button>
              </Show>
            </div>
          </fieldset>
        )}
      </Index>
      <div class="row">
        <Button onClick={() => setStore("examples", (examples) => [...examples, newExample()])}>
          {words().addExample}
        </Button>
        <Show when={rows() === undefined}>
          <span class="small quiet">{words().incomplete}</span>
        </Show>
      </div>
    </Dialog>
  );
}
