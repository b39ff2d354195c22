// Before a model goes: what is deleted, what stays, and why it may not be deleted now.
import { Show } from "solid-js";
import { formatBytes } from "../../base/format.ts";
import type { StoredModel } from "../../services/api.ts";
import { DeleteDialog } from "../parts/DeleteDialog.tsx";
import { Notice } from "../parts/Notice.tsx";
import { useSession, useText } from "../session.ts";

export function ModelDelete(props: {
  readonly model: StoredModel | undefined;
  readonly onClose: () => void;
}) {
  const { live, models } = useSession();
  const text = useText();
  const words = () => text().library.model.remove;
  const user = () => {
    const run = live.isRunning() ? live.record() : undefined;
    return run?.modelId === props.model?.id ? run : undefined;
  };
  return (
    <DeleteDialog
      id={props.model?.id}
      title={words().title(props.model?.name ?? "")}
      action={props.model?.kind === "adapter" ? words().actionAdapter : words().action}
      isInUse={user() !== undefined}
      remove={(id) => models.remove(id)}
      onClose={() => props.onClose()}
    >
      <Show when={props.model}>{(model) => <Consequences model={model()} />}</Show>
      <Show when={user()}>
        {(run) => (
          <Notice kind="warn" problem={words().inUse(run().name)} remedy={words().inUseRemedy} />
        )}
      </Show>
    </DeleteDialog>
  );
}

function Consequences(props: { readonly model: StoredModel }) {
  const { runs } = useSession();
  const text = useText();
  const words = () => text().library.model.remove;
  const origin = () => words()[props.model.origin.kind];
  const made = () => runs.list().filter(({ modelId }) => modelId === props.model.id).length;
  const bytes = () => formatBytes(props.model.partialBytes ?? props.model.bytes);
  return (
    <div class="stack tight">
      <p>{words().goes(bytes())}</p>
      <p>{origin()}</p>
      <p>{words().stays}</p>
      <Show when={made() > 0}>
        <p>{words().runs(made())}</p>
      </Show>
    </div>
  );
}
