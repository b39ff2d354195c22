// The recipe as YAML, in and out, XTuner's configs in, and as the command that does the same in a terminal.
import { createSignal, Show } from "solid-js";
import { messageOf } from "../../base/error.ts";
import { Snippet } from "../parts/Bits.tsx";
import { Button } from "../parts/Button.tsx";
import { Dialog } from "../parts/Dialog.tsx";
import { TextField } from "../parts/Fields.tsx";
import { ErrorNotice, Notice } from "../parts/Notice.tsx";
import { saveFile } from "../save-file.ts";
import type { ReadConfig } from "../../services/api.ts";
import { useSession, useText } from "../session.ts";
import { RecipeReady } from "./RecipeReady.tsx";

export function RecipeFile() {
  const { app, recipe } = useSession();
  const text = useText();
  const words = () => text().plan.recipe.file;
  const [fault, setFault] = createSignal<string>();
  const [read, setRead] = createSignal<{ place: string; notes: ReadConfig["notes"] }>();
  const [isPasting, setIsPasting] = createSignal(false);
  const [pasted, setPasted] = createSignal("");
  let picker: HTMLInputElement | undefined;

  const load = async (config: string, place: string) => {
    setFault(undefined);
    setRead(undefined);
    try {
      setRead({ place, notes: await recipe.loadText(config, place) });
      app.tell("good", words().loaded(place));
    } catch (error) {
      setFault(messageOf(error));
    }
  };
  const pick = async (input: HTMLInputElement) => {
    const file = input.files?.[0];
    if (!file) return;
    const config = await file.text();
    input.value = ""; // the same file may be picked again
    await load(config, file.name);
  };
  const save = async () => {
    const yaml = await recipe.toYaml();
    saveFile(new Blob([yaml], { type: "application/yaml" }), `${recipe.preset()}.yaml`);
  };
  return (
    <section class="card">
      <h2>{words().title}</h2>
      <p class="small quiet">{words().lead}</p>
      <div class="row">
        <Button onClick={() => void app.attempt(save)}>{words().save}</Button>
        <Button onClick={() => picker?.click()}>{words().load}</Button>
        <Button onClick={() => setIsPasting(true)}>{words().paste}</Button>
        <RecipeReady />
      </div>
      <input
        ref={(input) => {
          picker = input;
        }}
        type="file"
        accept=".yaml,.yml,.py"
        hidden
        onChange={(event) => void app.attempt(() => pick(event.currentTarget))}
      />
      <Show when={fault()}>
        {(message) => (
          <div class="recipe-fault">
            <ErrorNotice message={message()} />
          </div>
        )}
      </Show>
      <Show when={(read()?.notes.length ?? 0) > 0 && read()}>
        {(loaded) => (
          <div class="recipe-fault">
            <Notice
              kind="info"
              problem={words().notes(loaded().place)}
              remedy={loaded()
                .notes.map((note) => note.text)
                .join("\n")}
            />
          </div>
        )}
      </Show>
      <h3>{words().command}</h3>
      <Snippet label={words().command} text={recipe.command()} />
      <p class="small quiet">{words().commandHelp}</p>
      <Dialog
        isOpen={isPasting()}
        onClose={() => setIsPasting(false)}
        title={words().paste}
        actions={
          <Button
            kind="primary"
            disabled={pasted().trim() === ""}
            onClick={() => {
              setIsPasting(false);
              void load(pasted(), words().pasted);
            }}
          >
            {words().use}
          </Button>
        }
      >
        <TextField
          label={words().pasteLabel}
          rows={12}
          value={pasted()}
          onInput={setPasted}
          onChange={setPasted}
        />
      </Dialog>
    </section>
  );
}
