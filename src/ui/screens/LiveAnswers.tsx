// What the model answers to the evaluation questions as it learns: newest first, what is new marked.
import { createMemo, createSignal, For, Show } from "solid-js";
import { formatCount } from "../../base/format.ts";
import { type AnswerCell, tabulateAnswers } from "../live-report.ts";
import { Button } from "../parts/Button.tsx";
import { useSession, useText } from "../session.ts";
import { markNewWords } from "../word-difference.ts";

const SHOWN_ROWS = 6;

export function LiveAnswers() {
  const { live } = useSession();
  const text = useText();
  const [showsAll, setShowsAll] = createSignal(false);
  const answers = createMemo(() => live.report().answers);
  const table = createMemo(() => tabulateAnswers(answers()));
  const rows = () => (showsAll() ? table().rows : table().rows.slice(0, SHOWN_ROWS));
  const words = () => text().live.run.answers;
  const asksAny = () => (live.record()?.config.evaluation_inputs.length ?? 0) > 0;
  return (
    <section class="stack" aria-labelledby="live-answers">
      <div class="stack tight">
        <h2 id="live-answers">{words().title}</h2>
        <p class="quiet">{asksAny() ? words().words : words().none}</p>
      </div>
      <Show
        when={rows().length > 0}
        fallback={<Show when={asksAny()}>{<p class="quiet">{words().waiting}</p>}</Show>}
      >
        <div class="table-wrap" tabindex="0" role="group" aria-label={words().title}>
          <table class="live-answers">
            <thead>
              <tr>
                <th scope="col">{words().step}</th>
                <For each={table().questions}>
                  {(question) => (
                    <th scope="col" class="live-question">
                      {question}
                    </th>
                  )}
                </For>
              </tr>
            </thead>
            <tbody>
              <For each={rows()}>
                {(row) => (
                  <tr>
                    <th scope="row">{row.step === 0 ? words().before : formatCount(row.step)}</th>
                    <For each={row.cells}>{(cell) => <Cell cell={cell} />}</For>
                  </tr>
                )}
              </For>
            </tbody>
          </table>
        </div>
        <Show when={table().rows.length > SHOWN_ROWS}>
          <div>
            <Button kind="subtle" onClick={() => setShowsAll(!showsAll())}>
              {showsAll() ? words().fewer : words().all(formatCount(table().rows.length))}
            </Button>
          </div>
        </Show>
      </Show>
    </section>
  );
}

function Cell(props: { readonly cell: AnswerCell }) {
  const text = useText();
  const words = () => text().live.run.answers;
  const parts = createMemo(() => {
    const { output = "", previous } = props.cell;
    return previous === undefined
      ? [{ text: output, isNew: false }]
      : markNewWords(previous, output);
  });
  const newShare = () => {
    const fresh = parts().reduce((sum, part) => sum + (part.isNew ? part.text.length : 0), 0);
    return fresh / Math.max(1, props.cell.output?.length ?? 0);
  };
  return (
    <td>
      <Show when={props.cell.output !== undefined}>
        <div class="live-answer">
          <Show when={props.cell.output !== ""} fallback={<em class="quiet">{words().empty}</em>}>
            <For each={parts()}>
              {(part) => (part.isNew ? <mark>{part.text}</mark> : <span>{part.text}</span>)}
            </For>
          </Show>
        </div>
        <Show when={props.cell.previous !== undefined}>
          <p class="small quiet">
            {props.cell.output === props.cell.previous
              ? words().same
              : words().changed(`${Math.ceil(100 * newShare())} %`)}
          </p>
        </Show>
      </Show>
    </td>
  );
}
