// One side's answer: as Markdown, as text, or token by token with how sure the model was.
import { createSignal, For, Match, Show, Switch } from "solid-js";
import { formatCount } from "../../base/format.ts";
import { formatPercent, type Reply, type Side, tintOf } from "../conversation.ts";
import { CopyButton } from "../parts/Bits.tsx";
import { Markdown } from "../parts/Markdown.tsx";
import { ErrorNotice } from "../parts/Notice.tsx";
import { useText } from "../session.ts";
import type { ReplyLook } from "./TryTalk.tsx";

export function TryReply(props: {
  readonly side: Side;
  readonly reply: Reply;
  readonly look: ReplyLook;
}) {
  const text = useText();
  const words = () => text().live.tryout.talk;
  const isOver = () => props.reply.state === "done" || props.reply.state === "stopped";
  return (
    <div class="try-reply" classList={{ "is-tuned": props.side === "tuned" }}>
      <div class="row apart">
        <h3>{text().live.tryout.sides[props.side]}</h3>
        <Show when={isOver() && props.reply.text !== ""}>
          <CopyButton text={props.reply.text} />
        </Show>
      </div>
      <Switch>
        <Match when={props.reply.state === "waiting"}>
          <p class="quiet">{words().waiting}</p>
        </Match>
        <Match when={props.reply.text === "" && props.reply.state === "writing"}>
          <p class="quiet">{words().thinking}</p>
        </Match>
        <Match when={props.reply.text === "" && props.reply.state === "done"}>
          <p class="quiet">{words().empty}</p>
        </Match>
        <Match when={props.look.showsProbabilities || !props.look.isMarkdown}>
          <Tokens reply={props.reply} isTinted={props.look.showsProbabilities} />
        </Match>
        <Match when={true}>
          <Markdown text={props.reply.text} />
        </Match>
      </Switch>
      <Show when={props.reply.error}>{(error) => <ErrorNotice message={error()} />}</Show>
      <p class="small quiet">
        <Show when={props.reply.state === "stopped"}>{words().stopped} </Show>
        <Show when={props.reply.isCut}>{words().cut} </Show>
        <Show when={props.reply.speed}>
          {(speed) =>
            words().speed(formatCount(speed().tokens), speed().tokensPerSecond.toFixed(1))
          }
        </Show>
      </p>
      {/* Told once it is whole: a reader of the screen would trip over every word. */}
      <p class="visually-hidden" role="status">
        <Show when={isOver()}>{words().answered(text().live.tryout.sides[props.side])}</Show>
      </p>
    </div>
  );
}

/** The answer's tokens; one at a time is under the mouse or the keyboard, and tells its percentage. */
function Tokens(props: { readonly reply: Reply; readonly isTinted: boolean }) {
  const text = useText();
  const [at, setAt] = createSignal<number>();
  const [current, setCurrent] = createSignal(0);
  const [list, setList] = createSignal<HTMLElement>();
  const last = () => props.reply.pieces.length - 1;
  const move = (to: number) => {
    const index = Math.max(0, Math.min(last(), to));
    setCurrent(index);
    list()?.querySelectorAll<HTMLElement>("[role=option]")[index]?.focus();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const moves: Readonly<Record<string, number>> = {
      ArrowRight: current() + 1,
      ArrowDown: current() + 10,
      ArrowLeft: current() - 1,
      ArrowUp: current() - 10,
      Home: 0,
      End: last(),
    };
    const to = moves[event.key];
    if (to === undefined) return;
    event.preventDefault();
    move(to);
  };
  return (
    <div class="try-tokens">
      <div
        ref={setList}
        role="listbox"
        aria-orientation="horizontal"
        aria-label={text().live.tryout.show.tokens}
        onKeyDown={onKeyDown}
        onMouseLeave={() => setAt(undefined)}
        onFocusOut={() => setAt(undefined)}
      >
        <For each={props.reply.pieces}>
          {(piece, i) => (
            <span
              role="option"
              aria-selected={at() === i()}
              class="try-token"
              classList={{ [`is-tint-${tintOf(piece.probability)}`]: props.isTinted }}
              tabindex={i() === current() ? 0 : -1}
              aria-label={`${piece.text} ${formatPercent(piece.probability)}`}
              onMouseEnter={() => setAt(i())}
              onFocus={() => {
                setAt(i());
                setCurrent(i());
              }}
            >
              {piece.text}
            </span>
          )}
        </For>
      </div>
      <p class="try-percent small" aria-hidden="true">
        <Show
          when={props.reply.pieces[at() ?? -1]}
          fallback={
            <Show when={props.isTinted}>
              <span class="try-legend quiet">
                {text().live.tryout.show.legend}
                <For each={[0, 1, 2, 3, 4]}>{(tint) => <i class={`is-tint-${tint}`} />}</For>
                {text().live.tryout.show.legendSure}
              </span>
            </Show>
          }
        >
          {(piece) => (
            <>
              <code>{JSON.stringify(piece().text)}</code>{" "}
              {text().live.tryout.show.probability(formatPercent(piece().probability))}
            </>
          )}
        </Show>
      </p>
    </div>
  );
}
