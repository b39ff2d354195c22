// Whether a run of the recipe of the moment fits with a model: in a word, and as the sum behind it.
import { createEffect, For, Show } from "solid-js";
import { formatBytes, formatCount } from "../../base/format.ts";
import type { RunEstimate } from "../../services/api.ts";
import { VerdictBadge } from "../parts/Bits.tsx";
import { useSession, useText } from "../session.ts";

export function EstimateBadge(props: { readonly modelId: string }) {
  const { models } = useSession();
  createEffect(() => models.wantEstimate(props.modelId));
  return (
    <Show when={models.estimateOf(props.modelId)?.estimate}>
      {(estimate) => <VerdictBadge verdict={estimate().verdict} />}
    </Show>
  );
}

export function EstimateSum(props: { readonly modelId: string }) {
  const { check, models } = useSession();
  const text = useText();
  const estimated = () => models.estimateOf(props.modelId);
  const waiting = () =>
    check.gpu() === undefined ? text().library.model.sum.noGpu : text().library.model.sum.checking;
  return (
    <Show when={estimated()} fallback={<p class="small quiet">{waiting()}</p>}>
      {(known) => (
        <Show
          when={known().estimate}
          fallback={<p class="small model-problem">{known().problem}</p>}
        >
          {(estimate) => <Sum estimate={estimate()} />}
        </Show>
      )}
    </Show>
  );
}

function Sum(props: { readonly estimate: RunEstimate }) {
  const { check, recipe } = useSession();
  const text = useText();
  const words = () => text().library.model.sum;
  const budget = () => check.budgetBytes();
  const total = () => props.estimate.memory.total;
  return (
    <Show
      when={props.estimate.refusal === undefined}
      fallback={<p class="small model-problem">{props.estimate.refusal}</p>}
    >
      <details class="model-sum small">
        <summary>{words().title(formatBytes(total()), formatBytes(budget()))}</summary>
        <p class="quiet">
          {words().lead(
            formatCount(recipe.config().batch_size),
            formatCount(recipe.config().max_length),
            formatCount(recipe.config().lora.r),
          )}
        </p>
        <Kinds byKind={props.estimate.memory.byKind} />
        <dl class="name-sizes model-total">
          <div>
            <dt>{words().total}</dt>
            <dd>{formatBytes(total())}</dd>
          </div>
          <div>
            <dt>{total() <= budget() ? words().left : words().over}</dt>
            <dd>{formatBytes(Math.abs(budget() - total()))}</dd>
          </div>
        </dl>
        <Show when={props.estimate.settings.length > 0}>
          <p>{words().settings}</p>
          <ul>
            <For each={props.estimate.settings}>
              {(setting) => (
                <li>
                  <code>{setting}</code>
                </li>
              )}
            </For>
          </ul>
        </Show>
      </details>
    </Show>
  );
}

type ByKind = RunEstimate["memory"]["byKind"];

const KINDS = [
  "weights",
  "adapter",
  "optimizer",
  "activations",
  "lossChunk",
  "kvCache",
  "staging",
  "other",
] as const satisfies readonly (keyof ByKind)[];

/** The addends; what takes nothing is left out. */
function Kinds(props: { readonly byKind: ByKind }) {
  const text = useText();
  return (
    <dl class="name-sizes">
      <For each={KINDS.filter((kind) => props.byKind[kind] > 0)}>
        {(kind) => (
          <div>
            <dt>{text().library.model.sum.kinds[kind]}</dt>
            <dd>{formatBytes(props.byKind[kind])}</dd>
          </div>
        )}
      </For>
    </dl>
  );
}
