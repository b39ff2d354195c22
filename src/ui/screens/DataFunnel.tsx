// What becomes of all chosen rows on their way into training, and how many are held out.
import { createMemo, For, type JSX, Show } from "solid-js";
import { formatCount } from "../../base/format.ts";
import type { FunnelReport } from "../../services/api.ts";
import { Slider } from "../parts/Fields.tsx";
import { ErrorNotice } from "../parts/Notice.tsx";
import { type FunnelNumbers, funnelNumbers } from "../data-view.ts";
import { funnelNotes } from "../funnel-notes.ts";
import { createLatest } from "../latest.ts";
import { useSession, useText } from "../session.ts";

/** While a slider moves, nothing is counted. */
const STILL_MS = 250;

export function DataFunnel() {
  const { data, models, recipe } = useSession();
  const text = useText();
  const words = () => text().data.funnel;
  const question = createMemo(() => {
    const model = models.selected();
    const sets = data.selected();
    if (!model || sets.length === 0) return undefined;
    return { ids: sets.map(({ id }) => id), sets, model: model.id, config: recipe.config() };
  });
  const report = createLatest(
    question,
    async ({ ids, sets, model, config }) => {
      const funnel = await data.funnel(ids, model, config);
      return { funnel, numbers: funnelNumbers(funnel, sets) };
    },
    STILL_MS,
  );
  return (
    <Show when={models.selected()}>
      <section class="stack tight" aria-labelledby="data-funnel">
        <h2 id="data-funnel">{words().title}</h2>
        <Show when={report.problem()}>{(message) => <ErrorNotice message={message()} />}</Show>
        <Show
          when={report.value()}
          fallback={
            <Show when={report.isAsking()}>
              <p class="quiet" role="status">
                {words().loading}
              </p>
            </Show>
          }
        >
          {(value) => <Stages numbers={value().numbers} funnel={value().funnel} />}
        </Show>
        <HeldOut numbers={report.value()?.numbers} />
      </section>
    </Show>
  );
}

function Stages(props: { readonly numbers: FunnelNumbers; readonly funnel: FunnelReport }) {
  const text = useText();
  const words = () => text().data.funnel;
  const notes = createMemo(() => funnelNotes(props.numbers, props.funnel, words()));
  const share = (count: number) => (props.numbers.read > 0 ? count / props.numbers.read : 0);
  return (
    <ol class="data-funnel">
      <Stage count={props.numbers.read} name={words().read} share={1} notes={notes().read} />
      <Stage
        count={props.numbers.kept}
        name={words().kept}
        share={share(props.numbers.kept)}
        notes={notes().kept}
      />
      <Stage
        count={props.numbers.train}
        name={words().train}
        share={share(props.numbers.train)}
        notes={notes().train}
      />
      <Stage
        count={props.numbers.rows}
        name={words().rows}
        share={share(props.numbers.rows)}
        notes={notes().rows}
      />
    </ol>
  );
}

function Stage(props: {
  readonly count: number;
  readonly name: string;
  /** Of the rows read, 0 to 1. */
  readonly share: number;
  readonly notes: readonly string[];
}): JSX.Element {
  return (
    <li>
      <p>
        <strong class="numeric">{formatCount(props.count)}</strong> {props.name}
      </p>
      <span class="data-bar" aria-hidden="true">
        <span style={{ width: `${Math.min(100, 100 * props.share)}%` }} />
      </span>
      <ul class="small quiet">
        <For each={props.notes}>{(note) => <li>{note}</li>}</For>
      </ul>
    </li>
  );
}

function HeldOut(props: { readonly numbers: FunnelNumbers | undefined }) {
  const { recipe } = useSession();
  const text = useText();
  const words = () => text().data.funnel;
  const share = () => recipe.config().eval_split;
  const shown = () => {
    if (share() === 0) return words().splitNone;
    const count = props.numbers?.heldOut ?? 0;
    const percent = `${Number((100 * share()).toPrecision(2))} %`;
    return count > 0 ? `${percent} · ${formatCount(count)}` : percent;
  };
  return (
    <div class="data-split">
      <Slider
        label={words().split}
        help={words().splitHelp}
        value={Math.round(100 * share())}
        min={0}
        max={50}
        step={1}
        shown={shown()}
        onInput={(percent) => recipe.set("eval_split", percent / 100)}
      />
    </div>
  );
}
