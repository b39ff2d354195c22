// The offer of a share link: what it names, how large it is, and the button that fetches it.
import { Match, Show, Switch } from "solid-js";
import { formatBytes } from "../../base/format.ts";
import { BytesProgress, Fact } from "../parts/Bits.tsx";
import { Button } from "../parts/Button.tsx";
import { ErrorNotice } from "../parts/Notice.tsx";
import { useSession, useText } from "../session.ts";
import type { Found, SharedState } from "../shared-adapter.ts";

export function TryShared() {
  const { tryout } = useSession();
  const text = useText();
  const { shared } = tryout;
  const as = <Step extends SharedState["step"]>(step: Step) => {
    const state = shared.state();
    return state?.step === step ? (state as Extract<SharedState, { readonly step: Step }>) : false;
  };
  return (
    <Show when={shared.state()}>
      <section class="card is-chosen" aria-labelledby="try-shared">
        <h2 id="try-shared">{text().live.tryout.share.title}</h2>
        <Switch>
          <Match when={as("looking")}>
            {(state) => <p role="status">{text().live.tryout.share.looking(state().name)}</p>}
          </Match>
          <Match when={as("offer")}>{(offer) => <Offer offer={offer()} />}</Match>
          <Match when={as("fetching")}>
            {(state) => (
              <BytesProgress
                label={text().live.tryout.share.fetching(state().repo)}
                bytes={state().bytes}
                totalBytes={state().totalBytes}
              />
            )}
          </Match>
          <Match when={as("failed")}>
            {(state) => (
              <>
                <ErrorNotice message={state().problem} />
                <div class="row">
                  <Button onClick={() => void shared.again()}>{text().app.retry}</Button>
                  <Button kind="subtle" onClick={() => shared.dismiss()}>
                    {text().app.dismiss}
                  </Button>
                </div>
              </>
            )}
          </Match>
        </Switch>
      </section>
    </Show>
  );
}

function Offer(props: { readonly offer: Extract<SharedState, { readonly step: "offer" }> }) {
  const { tryout } = useSession();
  const text = useText();
  const bytes = () => missing(props.offer.adapter) + missing(props.offer.base);
  return (
    <>
      <p>{text().live.tryout.share.offer}</p>
      <dl class="facts plain">
        <Fact name={text().live.tryout.share.adapter}>{describe(props.offer.adapter)}</Fact>
        <Fact name={text().live.tryout.share.base}>{describe(props.offer.base)}</Fact>
      </dl>
      <div class="row">
        <Button kind="primary" onClick={() => void tryout.shared.accept()}>
          {bytes() > 0
            ? text().live.tryout.share.fetch(formatBytes(bytes()))
            : text().live.tryout.share.openOnly}
        </Button>
        <Button onClick={() => tryout.shared.dismiss()}>{text().app.cancel}</Button>
      </div>
    </>
  );

  function describe({ stored, hub }: Found): string {
    return stored
      ? `${stored.name} (${text().live.tryout.share.here})`
      : `${hub.repo} (${formatBytes(hub.totalBytes)})`;
  }
}

/** Bytes still to be fetched. */
function missing({ hub }: Found): number {
  return hub ? hub.totalBytes - hub.partialBytes : 0;
}
