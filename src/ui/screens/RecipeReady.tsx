// Ready-made configs, found by words in their names; choosing one takes its recipe.
import { createResource, createSignal, For, Show } from "solid-js";
import { Button } from "../parts/Button.tsx";
import { Dialog } from "../parts/Dialog.tsx";
import { TextField } from "../parts/Fields.tsx";
import { useSession, useText } from "../session.ts";

export function RecipeReady() {
  const { app, recipe } = useSession();
  const text = useText();
  const words = () => text().plan.recipe.file;
  const [isOpen, setIsOpen] = createSignal(false);
  const [pattern, setPattern] = createSignal("");
  // Nothing is asked before the dialog is opened: the answer's code is not for the first visit.
  const asked = () => (isOpen() ? { pattern: pattern() } : undefined);
  const [found] = createResource(asked, (question) => recipe.findReady(question.pattern));
  const choose = async (name: string) => {
    setIsOpen(false);
    await recipe.loadReady(name);
    app.tell("good", words().loaded(name));
  };
  return (
    <>
      <Button onClick={() => setIsOpen(true)}>{words().ready}</Button>
      <Dialog isOpen={isOpen()} onClose={() => setIsOpen(false)} title={words().ready}>
        <p class="small quiet">{words().readyLead}</p>
        <TextField
          label={words().readySearch}
          value={pattern()}
          onInput={setPattern}
          onChange={setPattern}
        />
        <ul class="ready-configs">
          <For each={found.latest ?? []}>
            {({ name, about }) => (
              <li>
                <button type="button" onClick={() => void app.attempt(() => choose(name))}>
                  <code>{name}</code>
                  <span class="small quiet">{about}</span>
                </button>
              </li>
            )}
          </For>
        </ul>
        <Show when={found.latest?.length === 0}>
          <p class="small">{words().readyNone}</p>
        </Show>
      </Dialog>
    </>
  );
}
