// Small pieces that every screen uses: badges, facts, progress, empty places, snippets.
import { createSignal, type JSX, Show } from "solid-js";
import { formatBytes } from "../../base/format.ts";
import type { TryingProgress, Verdict } from "../../services/api.ts";
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

/** What is done of a total, and its words; a bar without an end where the total is 0. */
function WorkProgress(props: {
  readonly label: string;
  readonly done: number;
  readonly total: number;
  readonly words: string;
}) {
  return (
    <div class="stack tight">
      <div class="row apart small">
        <span>{props.label}</span>
        <Show when={props.total > 0}>
          <span class="numeric quiet">{props.words}</span>
        </Show>
      </div>
      <Show when={props.total > 0} fallback={<progress aria-label={props.label} />}>
        <progress aria-label={props.label} value={props.done} max={props.total} />
      </Show>
    </div>
  );
}

/** The same in bytes. */
export function BytesProgress(props: {
  readonly label: string;
  readonly bytes: number;
  readonly totalBytes: number;
}) {
  const text = useText();
  return (
    <WorkProgress
      label={props.label}
      done={props.bytes}
      total={props.totalBytes}
      words={text().app.doneOf(formatBytes(props.bytes), formatBytes(props.totalBytes))}
    />
  );
}

/** Kernels whose variants were tried, of those to be. */
export function KernelsProgress(props: Pick<TryingProgress, "done" | "total" | "share">) {
  const text = useText();
  return (
    <WorkProgress
      label={text().app.tryingKernels}
      done={props.done + props.share}
      total={props.total}
      words={text().app.doneOf(String(props.done), String(props.total))}
    />
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
