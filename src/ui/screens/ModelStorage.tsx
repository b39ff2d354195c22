// How much of the browser's storage is used, and whether the browser will keep it.
import { createSignal, Show } from "solid-js";
import { formatBytes } from "../../base/format.ts";
import { Button } from "../parts/Button.tsx";
import { Notice } from "../parts/Notice.tsx";
import { useSession, useText } from "../session.ts";

export function ModelStorage() {
  const { check } = useSession();
  const text = useText();
  const words = () => text().library.model.storage;
  return (
    <Show when={check.storage()}>
      {(storage) => (
        <section class="stack tight" aria-labelledby="model-storage">
          <h2 id="model-storage">{words().title}</h2>
          <Show when={storage().hasOpfs} fallback={<Notice kind="bad" problem={words().none} />}>
            <p class="numeric">
              {words().used(formatBytes(storage().usedBytes), formatBytes(storage().quotaBytes))}
            </p>
            <progress
              value={storage().usedBytes}
              max={Math.max(storage().quotaBytes, 1)}
              aria-label={words().label}
            />
            <Keeping isPersistent={storage().isPersistent} />
          </Show>
        </section>
      )}
    </Show>
  );
}

function Keeping(props: { readonly isPersistent: boolean }) {
  const { check } = useSession();
  const text = useText();
  const words = () => text().library.model.storage;
  const [wasAsked, setWasAsked] = createSignal(false);
  const keep = async () => {
    await check.persist();
    setWasAsked(true);
  };
  return (
    <div class="row small quiet" aria-live="polite">
      <Show when={!props.isPersistent} fallback={<span>{words().persistent}</span>}>
        <span>{wasAsked() ? words().refused : words().notPersistent}</span>
        <Show when={!wasAsked()}>
          <Button kind="subtle" onClick={() => void keep()}>
            {words().keep}
          </Button>
        </Show>
      </Show>
    </div>
  );
}
