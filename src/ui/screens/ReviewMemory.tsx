// What the run takes of the GPU: a bar of its parts against what is allowed, and how to make it fit.
import { For, Show } from "solid-js";
import { formatBytes, formatCount } from "../../base/format.ts";
import type { RunEstimate } from "../../services/api.ts";
import { VerdictBadge } from "../parts/Bits.tsx";
import { Button, LinkButton } from "../parts/Button.tsx";
import { ErrorNotice } from "../parts/Notice.tsx";
import { readSettingTexts } from "../review.ts";
import { hrefOf } from "../router.ts";
import { useSession, useText } from "../session.ts";

export function ReviewMemory() {
  const { recipe } = useSession();
  const text = useText();
  const words = () => text().plan.review.memory;
  return (
    <section class="card">
      <div class="row apart">
        <h2>{words().title}</h2>
        <Show when={recipe.plan.estimate()}>
          {(estimate) => <VerdictBadge verdict={estimate().verdict} />}
        </Show>
      </div>
      <Show when={recipe.plan.estimateFault()}>
        {(message) => <ErrorNotice message={message()} />}
      </Show>
      <Show
        when={recipe.plan.estimate()}
        fallback={
          <Show when={recipe.plan.estimateFault() === undefined}>
            <p class="quiet">{words().counting}</p>
          </Show>
        }
      >
        {(estimate) => (
          <>
            <Show when={estimate().refusal} fallback={<Parts estimate={estimate()} />}>
              {(refusal) => <ErrorNotice message={refusal()} />}
            </Show>
            <Show when={estimate().refusal === undefined}>
              <p>{words().words[estimate().verdict]}</p>
            </Show>
            <Show when={estimate().verdict !== "fits"}>
              <Remedies settings={estimate().settings} />
            </Show>
            <Show when={estimate().trainableParameters > 0}>
              <p class="small quiet">
                {words().trainable(formatCount(estimate().trainableParameters))}
              </p>
            </Show>
          </>
        )}
      </Show>
    </section>
  );
}

type Kind = keyof RunEstimate["memory"]["byKind"];

// In the order of the bar: what stays the same comes first.
const KINDS: readonly Kind[] = [
  "weights",
  "adapter",
  "optimizer",
  "activations",
  "lossChunk",
  "kvCache",
  "staging",
  "other",
];

function Parts(props: { readonly estimate: RunEstimate }) {
  const { check } = useSession();
  const text = useText();
  const words = () => text().plan.review.memory;
  const parts = () =>
    KINDS.map((kind, index) => ({
      kind,
      index,
      bytes: props.estimate.memory.byKind[kind],
    })).filter(({ bytes }) => bytes > 0);
  /** The bar is as long as the run, or the budget where the run is not much smaller. */
  const whole = () => {
    const { total } = props.estimate.memory;
    return check.budgetBytes() > 4 * total ? total : Math.max(total, check.budgetBytes());
  };
  const share = (bytes: number) => `${(100 * bytes) / whole()}%`;
  return (
    <div class="stack tight">
      <p>
        {words().total(formatBytes(props.estimate.memory.total), formatBytes(check.budgetBytes()))}
      </p>
      <div class="review-bar" aria-hidden="true">
        <For each={parts()}>
          {(part) => (
            <span class={`review-part-${part.index}`} style={{ width: share(part.bytes) }} />
          )}
        </For>
        <Show when={check.budgetBytes() <= whole()}>
          <span
            class="review-budget"
            style={{ "inset-inline-start": share(check.budgetBytes()) }}
          />
        </Show>
      </div>
      <dl class="review-parts small">
        <For each={parts()}>
          {(part) => (
            <div>
              <span class={`review-swatch review-part-${part.index}`} aria-hidden="true" />
              <dt>{words().parts[part.kind]}</dt>
              <dd>{formatBytes(part.bytes)}</dd>
            </div>
          )}
        </For>
      </dl>
    </div>
  );
}

function Remedies(props: { readonly settings: readonly string[] }) {
  const { recipe } = useSession();
  const text = useText();
  const words = () => text().plan.review.memory;
  /** They fit together, not one without the others. */
  const use = () => {
    for (const [path, value] of readSettingTexts(props.settings)) recipe.set(path, value);
  };
  return (
    <div class="row">
      <Show when={props.settings.length > 0}>
        <span>{words().settings}</span>
        <Button onClick={use}>{words().use(props.settings.join(", "))}</Button>
      </Show>
      <LinkButton kind="subtle" href={hrefOf("model")}>
        {words().smallerModel}
      </LinkButton>
      <LinkButton kind="subtle" href={hrefOf("check")}>
        {words().changeBudget}
      </LinkButton>
    </div>
  );
}
