// What is allowed and yet hardly meant, and what may go wrong later.
import { For, Show } from "solid-js";
import { formatCount } from "../../base/format.ts";
import { Button } from "../parts/Button.tsx";
import { Notice } from "../parts/Notice.tsx";
import { type Doubt, findDoubts } from "../review.ts";
import { useSession, useText } from "../session.ts";

export function ReviewDoubts() {
  const { check, data, models, recipe } = useSession();
  const text = useText();
  const words = () => text().plan.review.warnings;
  const doubts = () => findDoubts(recipe.config(), models.selected(), data.selected());
  const say = (doubt: Doubt): { readonly problem: string; readonly remedy: string } => {
    switch (doubt.kind) {
      case "allHeldOut":
        return words().allHeldOut(String(doubt.share), formatCount(doubt.rows));
      case "fewHeldOut":
        return words().fewHeldOut(doubt.count);
      default:
        return words().longRows(formatCount(doubt.length), formatCount(doubt.context));
    }
  };
  return (
    <section class="stack tight" aria-label={words().title}>
      <For each={doubts()}>
        {(doubt) => <Notice kind="warn" problem={say(doubt).problem} remedy={say(doubt).remedy} />}
      </For>
      <Show when={check.gpu()?.hasF16 === false && check.gpu()?.isSoftware === false}>
        <Notice kind="info" problem={words().noF16.problem} remedy={words().noF16.remedy} />
      </Show>
      <Show when={check.storage()?.isPersistent === false}>
        <Notice
          kind="info"
          problem={words().notPersistent.problem}
          remedy={words().notPersistent.remedy}
          action={
            <div>
              <Button onClick={() => void check.persist()}>{text().plan.check.notes.keep}</Button>
            </div>
          }
        />
      </Show>
    </section>
  );
}
