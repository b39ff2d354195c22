// What came of a look-up on the hub, read out as it changes.
import { For, type JSX, Match, Switch } from "solid-js";
import { formatBytes } from "../../base/format.ts";
import type { Lookup } from "../lookup.ts";
import { useText } from "../session.ts";
import { Button } from "./Button.tsx";
import { ErrorNotice } from "./Notice.tsx";

export function LookupOutcome<Found>(props: {
  readonly lookup: Lookup<Found>;
  readonly looking: (text: string) => string;
  readonly onRetry: (text: string) => void;
  readonly children: (found: Found) => JSX.Element;
}) {
  const text = useText();
  const stateOf = <State extends Lookup<Found>["state"]>(state: State) =>
    props.lookup.state === state && (props.lookup as Extract<Lookup<Found>, { state: State }>);
  return (
    <div aria-live="polite">
      <Switch>
        <Match when={stateOf("looking")}>
          {(looking) => <p class="quiet">{props.looking(looking().text)}</p>}
        </Match>
        <Match when={stateOf("failed")}>
          {(failed) => (
            <ErrorNotice
              message={failed().problem}
              action={
                <Button kind="subtle" onClick={() => props.onRetry(failed().text)}>
                  {text().app.retry}
                </Button>
              }
            />
          )}
        </Match>
        <Match when={stateOf("found")}>{(shown) => props.children(shown().found)}</Match>
      </Switch>
    </div>
  );
}

/** Files with their sizes, one below the other. */
export function FileSizes(props: {
  readonly files: readonly { readonly name: string; readonly bytes: number }[];
}) {
  return (
    <dl class="name-sizes">
      <For each={props.files}>
        {(file) => (
          <div>
            <dt class="mono">{file.name}</dt>
            <dd>{formatBytes(file.bytes)}</dd>
          </div>
        )}
      </For>
    </dl>
  );
}
