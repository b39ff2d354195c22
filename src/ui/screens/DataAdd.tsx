// The ways in: files, pasted text, rows written by hand, an assistant's introduction, samples.
import { createSignal, For, Show } from "solid-js";
import type { SampleName } from "../../services/api.ts";
import { BytesProgress } from "../parts/Bits.tsx";
import { Button } from "../parts/Button.tsx";
import { FileDrop } from "../parts/FileDrop.tsx";
import { ErrorNotice } from "../parts/Notice.tsx";
import { useSession, useText } from "../session.ts";
import { DataHub } from "./DataHub.tsx";
import { DataIdentity } from "./DataIdentity.tsx";
import { DataPaste } from "./DataPaste.tsx";
import { DataWrite } from "./DataWrite.tsx";

const SAMPLES: readonly SampleName[] = ["identity-en", "identity-zh", "colors"];

export function DataAdd() {
  const { data } = useSession();
  const text = useText();
  const [open, setOpen] = createSignal<"paste" | "write" | "identity">();
  const close = () => setOpen(undefined);
  const words = () => text().data.add;
  return (
    <section class="stack tight" aria-labelledby="data-add">
      <h2 id="data-add">{words().title}</h2>
      <FileDrop
        label={words().drop}
        pickFiles={words().pick}
        accept=".json,.jsonl,.ndjson,.csv,.tsv,.parquet,.txt,.md,.gz,application/json,text/csv,text/plain,text/markdown,application/gzip"
        onFiles={(files) => void data.addFiles(files)}
      >
        <div class="row data-ways">
          <Button kind="subtle" onClick={() => setOpen("paste")}>
            {words().paste}
          </Button>
          <Button kind="subtle" onClick={() => setOpen("write")}>
            {words().write}
          </Button>
          <Button kind="subtle" onClick={() => setOpen("identity")}>
            {words().introduce}
          </Button>
        </div>
        <div class="row data-ways">
          <span class="small quiet">{words().samples}</span>
          <For each={SAMPLES}>
            {(name) => (
              <Button kind="subtle" onClick={() => void data.addSample(name)}>
                {words().sampleNames[name]}
              </Button>
            )}
          </For>
        </div>
      </FileDrop>
      <DataHub />
      <Show when={data.adding()}>
        {(adding) => (
          <div class="card" role="status">
            <BytesProgress
              label={words().reading(adding().name)}
              bytes={adding().bytes}
              totalBytes={adding().totalBytes}
            />
            <div class="row">
              <Button onClick={() => void data.cancelAdding()}>{text().app.cancel}</Button>
            </div>
          </div>
        )}
      </Show>
      <Show when={data.addProblem()}>{(message) => <ErrorNotice message={message()} />}</Show>
      <DataPaste isOpen={open() === "paste"} onClose={close} />
      <DataWrite isOpen={open() === "write"} onClose={close} />
      <DataIdentity isOpen={open() === "identity"} onClose={close} />
    </section>
  );
}
