// Before a model goes: what is deleted, what stays, and why it may not be deleted now.
import { createEffect, createSignal, on, Show } from "solid-js";
import { messageOf } from "../../base/error.ts";
import { formatBytes } from "../../base/format.ts";
import type { StoredModel } from "../../services/api.ts";
import { focusTitleIfLost } from "../focus.ts";
import { Button } from "../parts/Button.tsx";
import { Dialog } from "../parts/Dialog.tsx";
import { ErrorNotice, Notice } from "../parts/Notice.tsx";
import { useSession, useText } from "../session.ts";

export function ModelDelete(props: {
  readonly model: StoredModel | undefined;
  readonly onClose: () => void;
}) {
  const { live, models } = useSession();
  const text = useText();
  const words = () => text().library.model.remove;
  const [problem, setProblem] = createSignal<string>();
  const [isBusy, setIsBusy] = createSignal(false);
  createEffect(
    on(
      () => props.model,
      () => setProblem(undefined),
    ),
  );
  const user = () => {
    const run = live.isRunning() ? live.record() : undefined;
    return run?.modelId === props.model?.id ? run : undefined;
  };
  const remove = async () => {
    if (!props.model) return;
    setIsBusy(true);
    try {
      await models.remove(props.model.id);
      props.onClose();
      focusTitleIfLost();
    } catch (error) {
      setProblem(messageOf(error));
    } finally {
      setIsBusy(false);
    }
  };
  return (
    <Dialog
      isOpen={props.model !== undefined}
      onClose={() => props.onClose()}
      title={words().title(props.model?.name ?? "")}
      actions={
        <Button
          kind="danger"
          isBusy={isBusy()}
          disabled={user() !== undefined}
          onClick={() => void remove()}
        >
          {props.model?.kind === "adapter" ? words().actionAdapter : words().action}
        </Button>
      }
    >
      <Show when={props.model}>{(model) => <Consequences model={model()} />}</Show>
      <Show when={user()}>
        {(run) => (
          <Notice kind="warn" problem={words().inUse(run().name)} remedy={words().inUseRemedy} />
        )}
      </Show>
      <Show when={problem()}>{(message) => <ErrorNotice message={message()} />}</Show>
    </Dialog>
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
