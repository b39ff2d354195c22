// A new run from an earlier one: with a fresh adapter, or going on from what it learned.
import { createEffect, createSignal, on, Show } from "solid-js";
import type { RunRecord } from "../../services/api.ts";
import { Button } from "../parts/Button.tsx";
import { Dialog } from "../parts/Dialog.tsx";
import { Segments, SelectField } from "../parts/Fields.tsx";
import { useSession, useText } from "../session.ts";

export function RunsFork(props: {
  readonly run: RunRecord | undefined;
  readonly onClose: () => void;
}) {
  const { runs } = useSession();
  const text = useText();
  const words = () => text().library.runs.fork;
  const [begin, setBegin] = createSignal<"fresh" | "adapter">("fresh");
  const [checkpoint, setCheckpoint] = createSignal("");
  createEffect(
    on(
      () => props.run,
      (run) => {
        setBegin("fresh");
        setCheckpoint(run?.checkpoint ?? run?.checkpoints.at(-1) ?? "");
      },
    ),
  );
  const fork = () => {
    const { run } = props;
    if (!run) return;
    props.onClose();
    runs.fork(run, begin() === "adapter" ? checkpoint() : undefined);
  };
  const hasCheckpoint = () => (props.run?.checkpoints.length ?? 0) > 0;
  return (
    <Dialog
      isOpen={props.run !== undefined}
      onClose={() => props.onClose()}
      title={words().title(props.run?.name ?? "")}
      actions={
        <Button kind="primary" onClick={fork}>
          {words().action}
        </Button>
      }
    >
      <p>{words().lead}</p>
      <Show when={hasCheckpoint()}>
        <div>
          <Segments
            label={words().begin}
            value={begin()}
            options={[
              { value: "fresh", label: words().fresh },
              { value: "adapter", label: words().adapter },
            ]}
            onChange={setBegin}
          />
        </div>
        <p class="small quiet">{begin() === "fresh" ? words().freshHelp : words().adapterHelp}</p>
        <Show when={begin() === "adapter"}>
          <SelectField
            label={words().checkpoint}
            value={checkpoint()}
            options={(props.run?.checkpoints ?? []).map((name) => ({ value: name, label: name }))}
            onChange={setCheckpoint}
          />
        </Show>
      </Show>
    </Dialog>
  );
}
