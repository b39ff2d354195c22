// From the hub: an id or a pasted address, what it names, and the download of it.
import { createSignal, For, Show } from "solid-js";
import { Button } from "../parts/Button.tsx";
import { TextField } from "../parts/Fields.tsx";
import { LookupOutcome } from "../parts/LookupOutcome.tsx";
import { useSession, useText } from "../session.ts";
import { ModelFound } from "./ModelFound.tsx";

/** Small enough for most GPUs. Gated ones need a login, which this page does not have. */
const SMALL_MODELS = [
  { repo: "HuggingFaceTB/SmolLM2-135M-Instruct", isGated: false },
  { repo: "HuggingFaceTB/SmolLM2-360M-Instruct", isGated: false },
  { repo: "Qwen/Qwen2.5-0.5B-Instruct", isGated: false },
  { repo: "Qwen/Qwen3-0.6B", isGated: false },
  { repo: "meta-llama/Llama-3.2-1B-Instruct", isGated: true },
  { repo: "internlm/internlm2-chat-1_8b", isGated: false },
] as const;

export function ModelHub() {
  const { models } = useSession();
  const text = useText();
  const words = () => text().library.model.hub;
  const [typed, setTyped] = createSignal("");
  const [problem, setProblem] = createSignal<string>();
  const find = (event?: Event) => {
    event?.preventDefault();
    const wanted = typed().trim();
    setProblem(wanted === "" ? words().empty : undefined);
    if (wanted !== "") void models.lookUp(wanted);
  };
  const fill = (repo: string) => {
    setTyped(repo);
    find();
  };
  return (
    <section class="card model-hub" aria-labelledby="model-hub">
      <h2 id="model-hub">{words().title}</h2>
      <form class="stack tight" onSubmit={find}>
        <TextField
          label={words().label}
          help={words().help}
          placeholder={words().placeholder}
          problem={problem()}
          value={typed()}
          onInput={setTyped}
          onChange={setTyped}
        />
        <div class="row">
          <Button type="submit" disabled={!models.isOnline()}>
            {words().find}
          </Button>
        </div>
      </form>
      <LookupOutcome
        lookup={models.lookup()}
        looking={words().finding}
        onRetry={(again) => void models.lookUp(again)}
      >
        {(model) => <ModelFound model={model} />}
      </LookupOutcome>
      <Suggestions onChoose={fill} />
    </section>
  );
}

function Suggestions(props: { readonly onChoose: (repo: string) => void }) {
  const { models } = useSession();
  const text = useText();
  const words = () => text().library.model.hub;
  return (
    <div class="stack tight">
      <Show when={models.recent().length > 0}>
        <h3 class="small quiet">{words().recent}</h3>
        <ul class="row model-chips">
          <For each={models.recent()}>
            {(known) => (
              <li>
                <Chip label={known} onClick={() => props.onChoose(known)} />
              </li>
            )}
          </For>
        </ul>
      </Show>
      <h3 class="small quiet">{words().small}</h3>
      <ul class="row model-chips">
        <For each={SMALL_MODELS}>
          {({ repo, isGated }) => (
            <li>
              <Chip
                label={repo}
                note={isGated ? words().gatedShort : undefined}
                title={isGated ? words().gated : undefined}
                onClick={() => props.onChoose(repo)}
              />
            </li>
          )}
        </For>
      </ul>
    </div>
  );
}

function Chip(props: {
  readonly label: string;
  readonly note?: string | undefined;
  readonly title?: string | undefined;
  readonly onClick: () => void;
}) {
  const { models } = useSession();
  return (
    <button
      type="button"
      class="model-chip"
      disabled={!models.isOnline()}
      title={props.title}
      onClick={() => props.onClick()}
    >
      <span>{props.label}</span>
      <Show when={props.note}>
        <span class="model-chip-note">{props.note}</span>
        <span class="visually-hidden">{props.title}</span>
      </Show>
    </button>
  );
}
