// Before a run goes: what is deleted, what stays, and why it may not be deleted now.
import { Show } from "solid-js";
import type { RunRecord } from "../../services/api.ts";
import { DeleteDialog } from "../parts/DeleteDialog.tsx";
import { Notice } from "../parts/Notice.tsx";
import { isUnderWay } from "../run-library.ts";
import { useSession, useText } from "../session.ts";

export function RunsDelete(props: {
  readonly run: RunRecord | undefined;
  readonly onClose: () => void;
}) {
  const { runs } = useSession();
  const text = useText();
  const words = () => text().library.runs.remove;
  const isRunning = () => props.run !== undefined && isUnderWay(props.run.status);
  const goes = () => {
    const count = props.run?.checkpoints.length ?? 0;
    return count === 0 ? words().goesEmpty : words().goes(count);
  };
  return (
    <DeleteDialog
      id={props.run?.id}
      title={words().title(props.run?.name ?? "")}
      action={words().action}
      isInUse={isRunning()}
      remove={(id) => runs.remove(id)}
      onClose={() => props.onClose()}
    >
      <p>{goes()}</p>
      <p>{words().stays}</p>
      <Show when={isRunning()}>
        <Notice kind="warn" problem={words().underWay} remedy={words().underWayRemedy} />
      </Show>
    </DeleteDialog>
  );
}
