// Data from the clipboard.
import { createSignal } from "solid-js";
import { Button } from "../parts/Button.tsx";
import { Dialog } from "../parts/Dialog.tsx";
import { TextField } from "../parts/Fields.tsx";
import { useSession, useText } from "../session.ts";

export function DataPaste(props: { readonly isOpen: boolean; readonly onClose: () => void }) {
  const { data } = useSession();
  const text = useText();
  const [name, setName] = createSignal("");
  const [pasted, setPasted] = createSignal("");
  const add = () => {
    void data.addText(name().trim() || text().data.paste.defaultName, pasted());
    setName("");
    setPasted("");
    props.onClose();
  };
  return (
    <Dialog
      isOpen={props.isOpen}
      onClose={() => props.onClose()}
      title={text().data.paste.title}
      actions={
        <Button disabled={pasted().trim() === ""} onClick={add}>
          {text().data.paste.save}
        </Button>
      }
    >
      <TextField
        label={text().data.paste.name}
        value={name()}
        placeholder={text().data.paste.defaultName}
        onInput={setName}
        onChange={setName}
      />
      <TextField
        label={text().data.paste.text}
        value={pasted()}
        rows={10}
        onInput={setPasted}
        onChange={setPasted}
      />
    </Dialog>
  );
}
