// The frame of every screen: a title, what it is for, the content, and one primary action below.
import { createUniqueId, type JSX, onMount, Show } from "solid-js";

export interface ScreenProps {
  readonly title: string;
  /** One or two sentences on what is done here. */
  readonly lead?: string;
  readonly children: JSX.Element;
  /** Buttons, the primary one last; `summary` is said beside them. */
  readonly actions?: JSX.Element;
  readonly summary?: JSX.Element;
}

export function Screen(props: ScreenProps) {
  const titleId = createUniqueId();
  let title: HTMLHeadingElement | undefined;
  // A screen reader and the keyboard begin at the new screen, not where the old one was left.
  onMount(() => title?.focus({ preventScroll: true }));
  return (
    <main id="content" class="screen" aria-labelledby={titleId}>
      <header class="screen-head">
        <h1 id={titleId} ref={title} tabindex="-1">
          {props.title}
        </h1>
        <Show when={props.lead}>
          <p class="lead">{props.lead}</p>
        </Show>
      </header>
      {props.children}
      <Show when={props.actions}>
        <div class="screen-actions">
          <Show when={props.summary}>
            <div class="summary">{props.summary}</div>
          </Show>
          {props.actions}
        </div>
      </Show>
    </main>
  );
}
