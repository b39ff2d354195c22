// How others can talk to it by a link: the adapter goes to the hub, and the link names it.
import { createSignal, For, Show } from "solid-js";
import { Snippet } from "../parts/Bits.tsx";
import { TextField } from "../parts/Fields.tsx";
import { useSession, useText } from "../session.ts";

export function ExportShare() {
  const { exports, models } = useSession();
  const text = useText();
  const words = () => text().live.exports.share;
  const [repo, setRepo] = createSignal("");
  const base = () => models.list().find(({ id }) => id === exports.run()?.modelId);
  /** As others can find it: on the hub, or with the page itself. */
  const baseName = () => {
    const stored = base();
    if (stored?.origin.kind === "hub") return stored.origin.repo;
    return stored?.origin.kind === "embedded" ? stored.name : undefined;
  };
  const link = () => {
    const query = new URLSearchParams({
      adapter: repo().trim() || words().placeholder,
      model: baseName() ?? "",
    });
    // An id reads better with its slash.
    return `${location.href.split("#", 1)[0]}#/try?${query.toString().replaceAll("%2F", "/")}`;
  };
  return (
    <section class="card" aria-labelledby="export-share">
      <h2 id="export-share">{words().title}</h2>
      <p class="quiet">{words().words}</p>
      <ol class="export-steps">
        <For each={words().steps}>{(step) => <li>{step}</li>}</For>
      </ol>
      <TextField
        label={words().repo}
        value={repo()}
        placeholder={words().placeholder}
        onInput={setRepo}
        onChange={setRepo}
      />
      <Snippet text={link()} label={words().link} />
      <Show when={base() !== undefined && baseName() === undefined}>
        <p class="small quiet">{words().local(base()?.name ?? "")}</p>
      </Show>
    </section>
  );
}
