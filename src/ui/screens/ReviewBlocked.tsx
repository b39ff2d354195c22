// What is missing, each with the way to it.
import { For, Show } from "solid-js";
import { LinkButton } from "../parts/Button.tsx";
import { Notice } from "../parts/Notice.tsx";
import type { Blocker } from "../review.ts";
import { hrefOf, type RouteName } from "../router.ts";
import { useSession, useText } from "../session.ts";

const LEADS_TO: Readonly<Record<Exclude<Blocker, "elsewhere">, RouteName>> = {
  gpu: "check",
  model: "model",
  data: "data",
  recipe: "recipe",
  running: "live",
};

export function ReviewBlocked(props: { readonly blockers: readonly Blocker[] }) {
  const { live } = useSession();
  const text = useText();
  const words = () => text().plan.review.blocked;
  const linkOf = (blocker: Blocker) =>
    blocker === "elsewhere"
      ? undefined
      : { href: hrefOf(LEADS_TO[blocker]), text: words()[`${blocker}Link`] };
  return (
    <section class="stack tight" aria-label={words().title}>
      <For each={props.blockers}>
        {(blocker) => (
          <Notice
            kind="warn"
            problem={
              blocker === "elsewhere" ? words().elsewhere(live.elsewhere() ?? "") : words()[blocker]
            }
            action={
              <Show when={linkOf(blocker)}>
                {(link) => (
                  <div>
                    <LinkButton href={link().href}>{link().text}</LinkButton>
                  </div>
                )}
              </Show>
            }
          />
        )}
      </For>
    </section>
  );
}
