// The conversation: what was asked, what each side answered, and where the next question is written.
import { createEffect, createSignal, For, on, Show } from "solid-js";
import { type Side, SIDES, type Turn } from "../conversation.ts";
import { Button } from "../parts/Button.tsx";
import { CheckField, Segments } from "../parts/Fields.tsx";
import { useSession, useText } from "../session.ts";
import type { Mode } from "../session-try.ts";
import { TryReply } from "./TryReply.tsx";

const MODES: readonly Mode[] = ["both", "tuned", "base"];

export interface ReplyLook {
  readonly showsProbabilities: boolean;
  readonly isMarkdown: boolean;
}

export function TryTalk() {
  const { tryout } = useSession();
  const text = useText();
  const words = () => text().live.tryout;
  const [showsProbabilities, setShowsProbabilities] = createSignal(false);
  const [isMarkdown, setIsMarkdown] = createSignal(true);
  const isCompared = () => tryout.info()?.hasAdapter === true;
  return (
    <section class="try-talk" aria-labelledby="try-talk">
      <div class="row apart">
        <h2 id="try-talk">{words().talk.title}</h2>
        <Show when={isCompared()}>
          <Segments
            label={words().show.mode}
            value={tryout.mode()}
            options={MODES.map((value) => ({ value, label: words().show.modes[value] }))}
            onChange={(mode) => tryout.setMode(mode)}
          />
        </Show>
      </div>
      <div class="row try-show">
        <CheckField
          label={words().show.probabilities}
          isChecked={showsProbabilities()}
          onChange={setShowsProbabilities}
        />
        <CheckField
          label={words().show.markdown}
          isChecked={isMarkdown()}
          onChange={setIsMarkdown}
        />
      </div>
      <Show when={showsProbabilities()}>
        <p class="small quiet">{words().show.probabilitiesHelp}</p>
      </Show>
      <Turns
        look={{
          get showsProbabilities() {
            return showsProbabilities();
          },
          get isMarkdown() {
            return isMarkdown();
          },
        }}
      />
      <Composer />
    </section>
  );
}

function Turns(props: { readonly look: ReplyLook }) {
  const { tryout } = useSession();
  const text = useText();
  const words = () => text().live.tryout.talk;
  const [turns, setTurns] = createSignal<HTMLElement>();
  // What is said stays in view, but for those who scrolled back to read.
  createEffect(
    on(
      () => [tryout.turns.length, lengthOf(tryout.turns.at(-1))],
      () => {
        const list = turns();
        if (!list) return;
        const isNearEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 160;
        if (isNearEnd) list.scrollTop = list.scrollHeight;
      },
      { defer: true },
    ),
  );
  return (
    <div ref={setTurns} class="try-turns" tabindex="0" role="group" aria-label={words().title}>
      <Show
        when={tryout.turns.length > 0}
        fallback={
          <p class="try-start quiet">
            {tryout.info()?.hasAdapter && tryout.mode() === "both"
              ? words().start
              : words().startOne}
          </p>
        }
      >
        <For each={tryout.turns}>
          {(turn) => (
            <article class="try-turn">
              <div class="try-question">
                <h3 class="visually-hidden">{words().you}</h3>
                <p>{turn.question}</p>
              </div>
              <div class="try-replies">
                <For each={sidesOf(turn)}>
                  {(side) => (
                    <Show when={turn.replies[side]}>
                      {(reply) => <TryReply side={side} reply={reply()} look={props.look} />}
                    </Show>
                  )}
                </For>
              </div>
            </article>
          )}
        </For>
      </Show>
    </div>
  );
}

function Composer() {
  const { tryout } = useSession();
  const text = useText();
  const words = () => text().live.tryout.talk;
  const [draft, setDraft] = createSignal("");
  const isReady = () => tryout.state() === "open" && !tryout.isReplying();
  const send = () => {
    if (!isReady() || draft().trim() === "") return;
    void tryout.send(draft());
    setDraft("");
  };
  const onKeyDown = (event: KeyboardEvent) => {
    // While a word is being composed, as Chinese is typed, Enter takes the word.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229)
      return;
    event.preventDefault();
    send();
  };
  return (
    <form
      class="try-composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <label for="try-message" class="visually-hidden">
        {words().message}
      </label>
      <textarea
        id="try-message"
        rows="2"
        value={draft()}
        placeholder={words().placeholder}
        aria-describedby="try-keys"
        onInput={(event) => setDraft(event.currentTarget.value)}
        onKeyDown={onKeyDown}
      />
      <div class="row apart">
        <p id="try-keys" class="small quiet">
          {words().keys}
        </p>
        <div class="row">
          <Show when={tryout.turns.length > 0}>
            <Button kind="subtle" onClick={() => tryout.clear()}>
              {words().clear}
            </Button>
            <Button
              disabled={!isReady()}
              title={words().retryHelp}
              onClick={() => void tryout.retry()}
            >
              {words().retry}
            </Button>
          </Show>
          <Show
            when={tryout.isReplying()}
            fallback={
              <Button kind="primary" type="submit" disabled={!isReady() || draft().trim() === ""}>
                {words().send}
              </Button>
            }
          >
            <Button kind="primary" onClick={() => void tryout.stop()}>
              {words().stop}
            </Button>
          </Show>
        </div>
      </div>
    </form>
  );
}

function sidesOf(turn: Turn): readonly Side[] {
  return SIDES.filter((side) => turn.replies[side]);
}

function lengthOf(turn: Turn | undefined): number {
  return SIDES.reduce((sum, side) => sum + (turn?.replies[side]?.text.length ?? 0), 0);
}
