// A fact and what to do about it. The kind is said by a mark and a color.
import { type JSX, Show } from "solid-js";

export type NoticeKind = "info" | "good" | "warn" | "bad";

const MARKS: Readonly<Record<NoticeKind, string>> = { info: "i", good: "✓", warn: "!", bad: "✕" };

export function Notice(props: {
  readonly kind: NoticeKind;
  /** The fact. */
  readonly problem: string;
  /** What to do. */
  readonly remedy?: string | undefined;
  /** A button. */
  readonly action?: JSX.Element;
}) {
  return (
    <div class={`notice ${props.kind}`} role={props.kind === "bad" ? "alert" : "status"}>
      <span class="mark" aria-hidden="true">
        {MARKS[props.kind]}
      </span>
      <div>
        <p>{props.problem}</p>
        <Show when={props.remedy}>
          <p>{props.remedy}</p>
        </Show>
      </div>
      {props.action}
    </div>
  );
}

/** An error's two lines as a notice. */
export function ErrorNotice(props: { readonly message: string; readonly action?: JSX.Element }) {
  const lines = () => props.message.split("\n");
  return (
    <Notice
      kind="bad"
      problem={lines()[0] ?? ""}
      remedy={lines().slice(1).join("\n")}
      action={props.action}
    />
  );
}
