// What is on its way into storage: how much is there, how fast it goes, and how to stop it.
import { Show } from "solid-js";
import { formatBytes, formatDuration } from "../../base/format.ts";
import type { Transfer } from "../model-transfers.ts";
import { BytesProgress } from "../parts/Bits.tsx";
import { Button } from "../parts/Button.tsx";
import { useSession, useText } from "../session.ts";

export function TransferProgress(props: { readonly transfer: Transfer }) {
  const { app, models } = useSession();
  const text = useText();
  const words = () => text().library.model.transfer;
  const label = () => {
    const { kind, name } = props.transfer;
    return kind === "embedded" ? words().embedded : words()[kind](name);
  };
  const pace = () => {
    const { isEnding, rate } = props.transfer;
    if (isEnding) return words().ending;
    if (!rate) return words().starting;
    return words().rate(formatBytes(rate.bytesPerSecond), formatDuration(rate.secondsLeft));
  };
  return (
    <>
      <BytesProgress
        label={label()}
        bytes={props.transfer.bytes}
        totalBytes={props.transfer.totalBytes}
      />
      <p class="small quiet numeric">{pace()}</p>
      <Show when={props.transfer.kind === "download"}>
        <div class="row model-card-actions">
          <Button
            disabled={props.transfer.isEnding}
            aria-label={text().library.model.of(words().cancel, props.transfer.name)}
            onClick={() => void app.attempt(() => models.cancel(props.transfer.key))}
          >
            {words().cancel}
          </Button>
        </div>
      </Show>
    </>
  );
}
