// The tutorial's data set from two names: an assistant that says who it is and whose.
import { createSignal } from "solid-js";
import { Button } from "../parts/Button.tsx";
import { Dialog } from "../parts/Dialog.tsx";
import { Segments, TextField } from "../parts/Fields.tsx";
import { useSession, useText } from "../session.ts";
import type { Language } from "../text/table.ts";

const LANGUAGES = [
  { value: "en", label: "English" },
  { value: "zh", label: "中文" },
] as const;

export function DataIdentity(props: { readonly isOpen: boolean; readonly onClose: () => void }) {
  const { app, data } = useSession();
  const text = useText();
  const words = () => text().data.identity;
  const [owner, setOwner] = createSignal("");
  const [assistant, setAssistant] = createSignal("");
  const [language, setLanguage] = createSignal<Language>(app.language());
  const make = () => {
    void data.addIdentity(owner(), assistant(), language());
    props.onClose();
  };
  const isReady = () => owner().trim() !== "" && assistant().trim() !== "";
  return (
    <Dialog
      isOpen={props.isOpen}
      onClose={() => props.onClose()}
      title={words().title}
      actions={
        <Button disabled={!isReady()} onClick={make}>
          {words().save}
        </Button>
      }
    >
      <p class="quiet">{words().help}</p>
      <TextField label={words().owner} value={owner()} onInput={setOwner} onChange={setOwner} />
      <TextField
        label={words().assistant}
        value={assistant()}
        onInput={setAssistant}
        onChange={setAssistant}
      />
      <Segments
        label={words().language}
        value={language()}
        options={LANGUAGES}
        onChange={setLanguage}
      />
    </Dialog>
  );
}
