// Before a run goes: what is deleted, what stays, and why it may not be deleted now.
import { createEffect, createSignal, on, Show } from "solid-js";
import { messageOf } from "../../base/error.ts";
import type { RunRecord } from "../../services/api.ts";
import { focusTitleIfLost } from "../focus.ts";
import { Button } from "../parts/Button.tsx";
import { Dialog } from "../parts/Dialog.tsx";
import { ErrorNotice, Notice } from "../parts/Notice.tsx";
import { isUnderWay } from "../run-library.ts";
import { useSession, useText } from "../session.ts";

export function RunsDelete(props: {
  readonly run: RunRecord | undefined;
  readonly onClose: () => void;
}) {
  const { runs } = useSession();
  const text = useText();
  const words = () => text().library.runs.remove;
  const [problem, setProblem] = createSignal<string>();
  const [isBusy, setIsBusy] = createSignal(false);
  createEffect(
    on(
      () => props.run,
      () => setProblem(undefined),
    ),
  );
  const isRunning = () => props.run !== undefined && isUnderWay(props.run.status);
  const goes = () => {
    const count = props.run?.checkpoints.length ?? 0;
    return count === 0 ? words().goesEmpty : words().goes(count);
  };
  const remove = async () => {
    if (!props.run) return;
    setIsBusy(true);
    try {
      await runs.remove(props.run.id);
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
      isOpen={props.run !== undefined}
      onClose={() => props.onClose()}
      title={words().title(props.run?.name ?? "")}
      actions={
        <Button
          kind="danger"
          isBusy={isBusy()}
          disabled={isRunning()}
          onClick={() => void remove()}
        >
          {words().action}
        </Button>
      }
    >
      <p>{goes()}</p>
      <p>{words().stays}</p>
      <Show when={isRunning()}>
        <Notice kind="warn" problem={words().underWay} remedy={words().underWayRemedy} />
      </Show>
      <Show when={problem()}>{(message) => <ErrorNotice message={message()} />}</Show>
    </Dialog>
  );
}
