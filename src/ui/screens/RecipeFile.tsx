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

interface Loaded {
  readonly place: string;
  readonly notes: ReadConfig["notes"];
}

export function RecipeFile() {
  const { app, recipe } = useSession();
  const text = useText();
  const words = () => text().plan.recipe.file;
  const [fault, setFault] = createSignal<string>();
  const [read, setRead] = createSignal<Loaded>();
  const [isPasting, setIsPasting] = createSignal(false);

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
        <PickButton onPick={async (file) => load(await file.text(), file.name)} />
        <Button onClick={() => setIsPasting(true)}>{words().paste}</Button>
        <RecipeReady />
      </div>
      <Show when={fault()}>
        {(message) => (
          <div class="recipe-fault">
            <ErrorNotice message={message()} />
          </div>
        )}
      </Show>
      <Show when={(read()?.notes.length ?? 0) > 0 && read()}>
        {(loaded) => <Notes read={loaded()} />}
      </Show>
      <h3>{words().command}</h3>
      <Snippet label={words().command} text={recipe.command()} />
      <p class="small quiet">{words().commandHelp}</p>
      <PasteDialog
        isOpen={isPasting()}
        onClose={() => setIsPasting(false)}
        onUse={(config) => void load(config, words().pasted)}
      />
    </section>
  );
}

/** A button that asks for the file of a config. */
function PickButton(props: { readonly onPick: (file: File) => Promise<void> }) {
  const { app } = useSession();
  const text = useText();
  let picker: HTMLInputElement | undefined;
  const pick = async (input: HTMLInputElement) => {
    const file = input.files?.[0];
    if (!file) return;
    input.value = ""; // the same file may be picked again
    await props.onPick(file);
  };
  return (
    <>
      <Button onClick={() => picker?.click()}>{text().plan.recipe.file.load}</Button>
      <input
        ref={(input) => {
          picker = input;
        }}
        type="file"
        accept=".yaml,.yml,.py"
        hidden
        onChange={(event) => void app.attempt(() => pick(event.currentTarget))}
      />
    </>
  );
}

/** What a config that was loaded says of itself. */
function Notes(props: { readonly read: Loaded }) {
  const text = useText();
  return (
    <div class="recipe-fault">
      <Notice
        kind="info"
        problem={text().plan.recipe.file.notes(props.read.place)}
        remedy={props.read.notes.map((note) => note.text).join("\n")}
      />
    </div>
  );
}

/** Takes a config as text; what was pasted stays there for the next time. */
function PasteDialog(props: {
  readonly isOpen: boolean;
  readonly onClose: () => void;
  readonly onUse: (config: string) => void;
}) {
  const text = useText();
  const words = () => text().plan.recipe.file;
  const [pasted, setPasted] = createSignal("");
  const use = () => {
    props.onClose();
    props.onUse(pasted());
  };
  return (
    <Dialog
      isOpen={props.isOpen}
      onClose={() => props.onClose()}
      title={words().paste}
      actions={
        <Button kind="primary" disabled={pasted().trim() === ""} onClick={use}>
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
  );
}
