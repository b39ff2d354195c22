// One row as the model sees it: its tokens, and which of them are learned. Color is not the only sign: learned
// tokens are underlined, and each run says what it is to those who listen.
import { createMemo, For, type JSX, Show } from "solid-js";
import { formatCount } from "../../base/format.ts";
import type { DataExample, StoredData } from "../../services/api.ts";
import { Button, LinkButton } from "../parts/Button.tsx";
import { NumberField } from "../parts/Fields.tsx";
import { ErrorNotice, Notice } from "../parts/Notice.tsx";
import { runsOf, visibleText } from "../data-view.ts";
import { createLatest } from "../latest.ts";
import { hrefOf } from "../router.ts";
import { useSession, useText } from "../session.ts";

/** More would make a page slow, and nobody reads them. */
const SHOWN_TOKENS = 2048;

export function DataExampleView(props: {
  readonly data: StoredData;
  /** Counted from 0. */
  readonly row: number;
  readonly onRow: (row: number) => void;
}) {
  const { data, models, recipe } = useSession();
  const text = useText();
  const words = () => text().data.example;
  const question = createMemo(() => {
    const model = models.selected();
    return model && { id: props.data.id, model: model.id, config: recipe.config(), row: props.row };
  });
  const example = createLatest(question, (asked) =>
    data.example(asked.id, asked.model, asked.config, asked.row),
  );
  const step = (by: number) =>
    props.onRow(Math.max(0, Math.min(props.data.rows - 1, props.row + by)));
  return (
    <Show
      when={models.selected()}
      fallback={
        <div class="card">
          <p>{words().noModel}</p>
          <div class="row">
            <LinkButton href={hrefOf("model")}>{words().toModel}</LinkButton>
          </div>
        </div>
      }
    >
      <div class="stack tight">
        <div class="row data-steps">
          <Button aria-label={words().previous} disabled={props.row === 0} onClick={() => step(-1)}>
            ←
          </Button>
          <NumberField
            label={words().row}
            value={props.row + 1}
            min={1}
            max={props.data.rows}
            step={1}
            onChange={(row) => row >= 1 && step(Math.floor(row) - 1 - props.row)}
          />
          <span class="quiet">{words().of(formatCount(props.data.rows))}</span>
          <Button
            aria-label={words().next}
            disabled={props.row >= props.data.rows - 1}
            onClick={() => step(1)}
          >
            →
          </Button>
        </div>
        <Legend />
        <Show when={example.problem()}>{(message) => <ErrorNotice message={message()} />}</Show>
        <Show when={example.value()}>{(value) => <Tokens example={value()} />}</Show>
      </div>
    </Show>
  );
}

function Legend() {
  const text = useText();
  const words = () => text().data.example;
  return (
    <ul class="row small data-legend" aria-label={words().legend}>
      <li>
        <span class="data-token is-trained" aria-hidden="true">
          abc
        </span>{" "}
        {words().trained}
      </li>
      <li>
        <span class="data-token" aria-hidden="true">
          abc
        </span>{" "}
        {words().masked}
      </li>
      <li class="quiet">{words().marks}</li>
    </ul>
  );
}

function Tokens(props: { readonly example: DataExample }): JSX.Element {
  const text = useText();
  const words = () => text().data.example;
  const trained = () => props.example.tokens.filter(({ isTrained }) => isTrained).length;
  const runs = createMemo(() => runsOf(props.example.tokens.slice(0, SHOWN_TOKENS)));
  return (
    <Show when={props.example.tokenCount > 0} fallback={<p class="quiet">{words().emptyRow}</p>}>
      <p class="small quiet" role="status">
        {words().counts(formatCount(props.example.tokens.length), formatCount(trained()))}
      </p>
      <div class="data-tokens" tabindex="0" role="group" aria-label={words().title}>
        <For each={runs()}>
          {(run) => (
            <span class="data-run">
              <span class="visually-hidden">
                {run.isTrained ? words().learnedRun : words().shownRun}{" "}
              </span>
              <For each={run.tokens}>
                {(token) => (
                  <span
                    class="data-token"
                    classList={{ "is-trained": token.isTrained }}
                    title={String(token.id)}
                  >
                    {visibleText(token.text)}
                  </span>
                )}
              </For>
            </span>
          )}
        </For>
      </div>
      <Show when={props.example.tokens.length > SHOWN_TOKENS}>
        <p class="small quiet">{words().clipped(formatCount(SHOWN_TOKENS))}</p>
      </Show>
      <Show when={props.example.isCut}>
        <Notice
          kind="warn"
          problem={words().cut(
            formatCount(props.example.tokens.length),
            formatCount(props.example.tokenCount),
          )}
        />
      </Show>
      <Show when={trained() === 0}>
        <Notice kind="warn" problem={words().unlearned} />
      </Show>
      <details>
        <summary>{words().rendered}</summary>
        <pre class="data-rendered" tabindex="0">
          {props.example.rendered}
        </pre>
      </details>
    </Show>
  );
}
