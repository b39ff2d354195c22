// Which column is what, where no known format says so; with the first row as it would be.
import { createMemo, createSignal, For, Show } from "solid-js";
import type { ShownMessage, StoredData } from "../../services/api.ts";
import { Button } from "../parts/Button.tsx";
import { SelectField } from "../parts/Fields.tsx";
import { guessMapping, mappedMessages } from "../data-view.ts";
import { createLatest } from "../latest.ts";
import { useSession, useText } from "../session.ts";

/** What stands in a list of columns for none of them: no column is called so. */
const NONE = "\u0000";

export function DataMapper(props: { readonly data: StoredData }) {
  const { data } = useSession();
  const text = useText();
  const words = () => text().data.mapper;
  const first = props.data.mapping ?? guessMapping(props.data.columns);
  const [input, setInput] = createSignal(first.input);
  const [output, setOutput] = createSignal(first.output);
  const [system, setSystem] = createSignal(first.system ?? NONE);
  const [isOpen, setIsOpen] = createSignal(props.data.mapping === null);
  const [isBusy, setIsBusy] = createSignal(false);
  const columns = () => props.data.columns.map((column) => ({ value: column, label: column }));
  const mapping = createMemo(() => ({
    input: input(),
    output: output(),
    ...(system() === NONE ? {} : { system: system() }),
  }));
  const isReady = () => input() !== "" && output() !== "" && input() !== output();
  const rows = createLatest(
    () => (props.data.format === null ? props.data.id : undefined),
    (id) => data.rows(id, 0, 20),
  );
  const fields = () => rows.value()?.find((row) => row.fields)?.fields;
  const map = async () => {
    setIsBusy(true);
    await data.mapColumns(props.data.id, mapping());
    setIsBusy(false);
  };
  return (
    <Show
      when={isOpen()}
      fallback={
        <div class="row">
          <span>{words().mapped(input(), output())}</span>
          <Button kind="subtle" onClick={() => setIsOpen(true)}>
            {words().again}
          </Button>
        </div>
      }
    >
      <div class="card" role="group" aria-label={words().title}>
        <h3>{words().title}</h3>
        <p class="quiet">{words().help}</p>
        <div class="columns">
          <SelectField
            label={words().input}
            value={input()}
            options={columns()}
            onChange={setInput}
          />
          <SelectField
            label={words().output}
            value={output()}
            options={columns()}
            onChange={setOutput}
          />
          <SelectField
            label={words().system}
            value={system()}
            options={[{ value: NONE, label: words().none }, ...columns()]}
            onChange={setSystem}
          />
        </div>
        <Show when={isReady()} fallback={<p class="quiet">{words().noRow}</p>}>
          <Show when={fields()}>
            {(known) => (
              <div class="stack tight">
                <p class="small quiet">{words().live}</p>
                <Said messages={mappedMessages(known(), mapping())} />
              </div>
            )}
          </Show>
        </Show>
        <div class="row">
          <Button disabled={!isReady()} isBusy={isBusy()} onClick={() => void map()}>
            {words().save}
          </Button>
        </div>
      </div>
    </Show>
  );
}

/** A conversation, each message with who says it. */
export function Said(props: { readonly messages: readonly ShownMessage[] }) {
  const text = useText();
  return (
    <For each={props.messages}>
      {(message) => (
        <p class={`data-said ${message.role}`}>
          <span class="data-role">{text().data.roles[message.role]}</span>
          <span class="data-content">{message.content}</span>
        </p>
      )}
    </For>
  );
}
