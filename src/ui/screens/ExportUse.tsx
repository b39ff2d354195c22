// Commands and code to use an export elsewhere, to be copied.
import { createMemo, createSignal, For } from "solid-js";
import { Snippet } from "../parts/Bits.tsx";
import { Segments } from "../parts/Fields.tsx";
import { useSession, useText } from "../session.ts";
import type { ExportKind } from "../session-export.ts";
import { slugOf, snippetsFor } from "../snippets.ts";

const KINDS: readonly ExportKind[] = ["adapter", "merged"];

export function ExportUse() {
  const { exports, models } = useSession();
  const text = useText();
  const words = () => text().live.exports.use;
  const [kind, setKind] = createSignal<ExportKind>("adapter");
  const snippets = createMemo(() => {
    const run = exports.run();
    if (!run) return [];
    const base = models.list().find(({ id }) => id === run.modelId);
    return snippetsFor({
      kind: kind(),
      name: run.name,
      base: base?.origin.kind === "hub" ? base.origin.repo : run.modelName,
      isBaseOnHub: base?.origin.kind === "hub",
      rank: run.config.lora.r,
      system: run.config.system,
      needsRemoteCode: base?.facts?.family === "internlm2",
    });
  });
  return (
    <section class="stack" aria-labelledby="export-use">
      <div class="row apart">
        <h2 id="export-use">{words().title}</h2>
        <Segments
          label={words().which}
          value={kind()}
          options={KINDS.map((value) => ({ value, label: words()[value] }))}
          onChange={setKind}
        />
      </div>
      <p class="quiet">{words().words(`${slugOf(exports.run()?.name ?? "")}-${kind()}`)}</p>
      <For each={snippets()}>
        {(snippet, i) => (
          <details open={i() === 0}>
            <summary>{snippet.title}</summary>
            <Snippet text={snippet.text} label={snippet.title} />
          </details>
        )}
      </For>
    </section>
  );
}
