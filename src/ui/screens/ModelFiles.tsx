// From this machine: a folder, its files, or one GGUF file, dropped or picked.
import { Show } from "solid-js";
import type { LocalFile } from "../../services/api.ts";
import { nameOfFiles } from "../model-library.ts";
import { FileDrop } from "../parts/FileDrop.tsx";
import { ErrorNotice } from "../parts/Notice.tsx";
import { useSession, useText } from "../session.ts";

export function ModelFiles() {
  const { models } = useSession();
  const text = useText();
  const words = () => text().library.model.local;
  const add = (files: readonly LocalFile[]) => void models.addFiles(nameOfFiles(files), files);
  return (
    <section class="card" aria-labelledby="model-local">
      <h2 id="model-local">{words().title}</h2>
      <FileDrop
        label={words().label}
        pickFiles={words().pickFiles}
        pickFolder={words().pickFolder}
        onFiles={add}
      />
      <Show when={models.addProblem()}>{(problem) => <ErrorNotice message={problem()} />}</Show>
      <p class="small quiet">{words().help}</p>
    </section>
  );
}
