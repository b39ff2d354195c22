// Questions about one data set: its name, and whether it goes.
import { createEffect, createSignal, on } from "solid-js";
import type { StoredData } from "../../services/api.ts";
import { Button } from "../parts/Button.tsx";
import { Dialog } from "../parts/Dialog.tsx";
import { TextField } from "../parts/Fields.tsx";
import { useSession, useText } from "../session.ts";

interface AboutData {
  /** Undefined asks nothing. */
  readonly data: StoredData | undefined;
  readonly onClose: () => void;
}

export function DataRename(props: AboutData) {
  const { data } = useSession();
  const text = useText();
  const [name, setName] = createSignal("");
  createEffect(
    on(
      () => props.data,
      (set) => setName(set?.name ?? ""),
    ),
  );
  const rename = async () => {
    const { data: set } = props;
    props.onClose();
    if (set && name().trim() !== "") await data.rename(set.id, name());
  };
  return (
    <Dialog
      isOpen={props.data !== undefined}
      onClose={() => props.onClose()}
      title={text().data.list.renameTitle}
      actions={<Button onClick={() => void rename()}>{text().app.save}</Button>}
    >
      <TextField
        label={text().data.list.name}
        value={name()}
        onInput={setName}
        onChange={setName}
      />
    </Dialog>
  );
}

export function DataDelete(props: AboutData) {
  const { data } = useSession();
  const text = useText();
  const remove = async () => {
    const { data: set } = props;
    props.onClose();
    if (set) await data.remove(set.id);
  };
  return (
    <Dialog
      isOpen={props.data !== undefined}
      onClose={() => props.onClose()}
      title={text().data.list.deleteTitle}
      actions={
        <Button kind="danger" onClick={() => void remove()}>
          {text().app.delete}
        </Button>
      }
    >
      <p>{text().data.list.deleteBody(props.data?.name ?? "")}</p>
    </Dialog>
  );
}
