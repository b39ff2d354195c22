// Small pieces that every screen uses: badges, facts, progress, empty places, snippets.
import { createSignal, type JSX, Show } from "solid-js";
import { formatBytes } from "../../base/format.ts";
import type { Verdict } from "../../services/api.ts";
import { useText } from "../session.ts";
import { Button } from "./Button.tsx";

export function Badge(props: {
  readonly kind?: "good" | "warn" | "bad" | "accent";
  readonly children: JSX.Element;
}) {
  return <span class={`badge ${props.kind ?? ""}`}>{props.children}</span>;
}

const VERDICTS = {
  fits: { kind: "good", mark: "✓" },
  tight: { kind: "warn", mark: "~" },
  "too-big": { kind: "bad", mark: "✕" },
} as const;

/** Fits, tight, too big: a mark, a word and a color. */
export function VerdictBadge(props: { readonly verdict: Verdict }) {
  const text = useText();
  return (
    <Badge kind={VERDICTS[props.verdict].kind}>
      <span aria-hidden="true">{VERDICTS[props.verdict].mark}</span>
      {text().app.verdicts[props.verdict]}
    </Badge>
  );
}

/** One number with its name, inside `<dl class="facts">`. */
export function Fact(props: { readonly name: string; readonly children: JSX.Element }) {
  return (
    <div>
      <dt>{props.name}</dt>
      <dd>{props.children}</dd>
    </div>
  );
}

/** Bytes done of a total; a bar without an end where the total is 0. */
export function BytesProgress(props: {
  readonly label: string;
  readonly bytes: number;
  readonly totalBytes: number;
}) {
  const text = useText();
  return (
    <div class="stack tight">
      <div class="row apart small">
        <span>{props.label}</span>
        <span class="numeric quiet">
          {text().app.bytesOf(formatBytes(props.bytes), formatBytes(props.totalBytes))}
        </span>
      </div>
      <Show when={props.totalBytes > 0} fallback={<progress aria-label={props.label} />}>
        <progress aria-label={props.label} value={props.bytes} max={props.totalBytes} />
      </Show>
    </div>
  );
}

/** Where there is nothing yet: what will be here, and how to begin. */
export function Empty(props: {
  readonly title: string;
  readonly children: JSX.Element;
  readonly action?: JSX.Element;
}) {
  return (
    <div class="empty">
      <h2>{props.title}</h2>
      <p>{props.children}</p>
      {props.action}
    </div>
  );
}

export function CopyButton(props: { readonly text: string }) {
  const text = useText();
  const [isCopied, setIsCopied] = createSignal(false);
  const copy = async () => {
    await navigator.clipboard.writeText(props.text);
    setIsCopied(true);
    setTimeout(() => setIsCopied(false), 2000);
  };
  return (
    <Button kind="subtle" onClick={() => void copy()} aria-live="polite">
      {isCopied() ? text().app.copied : text().app.copy}
    </Button>
  );
}

/** Text to be copied: a command, a file. */
export function Snippet(props: { readonly text: string; readonly label: string }) {
  return (
    <div class="snippet">
      <pre tabindex="0" role="group" aria-label={props.label}>
        <code>{props.text}</code>
      </pre>
      <Show when={props.text !== ""}>
        <CopyButton text={props.text} />
      </Show>
    </div>
  );
}
