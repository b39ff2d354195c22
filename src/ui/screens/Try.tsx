// Talking to a model: before and after training, side by side.
import "./try.css";
import { Show } from "solid-js";
import { Empty } from "../parts/Bits.tsx";
import { LinkButton } from "../parts/Button.tsx";
import { Screen } from "../parts/Screen.tsx";
import { hrefOf } from "../router.ts";
import { useSession, useText } from "../session.ts";
import { TryChoice } from "./TryChoice.tsx";
import { TrySettings } from "./TrySettings.tsx";
import { TryShared } from "./TryShared.tsx";
import { TryTalk } from "./TryTalk.tsx";

export function Try() {
  const { tryout, models } = useSession();
  const text = useText();
  const bases = () => models.list().filter(({ kind, facts }) => kind === "model" && facts);
  return (
    <Screen title={text().app.screens.try} lead={text().live.tryout.lead}>
      <TryShared />
      <Show
        when={bases().length > 0}
        fallback={
          <Show when={models.isListed() && tryout.shared.state() === undefined}>
            <Empty
              title={text().live.tryout.empty.title}
              action={
                <LinkButton kind="primary" href={hrefOf("model")}>
                  {text().live.tryout.empty.action}
                </LinkButton>
              }
            >
              {text().live.tryout.empty.words}
            </Empty>
          </Show>
        }
      >
        <TryChoice bases={bases()} />
        <Show when={tryout.info()}>
          <div class="try-columns">
            <TryTalk />
            <TrySettings />
          </div>
        </Show>
      </Show>
    </Screen>
  );
}
