// A button, and the link that looks like one. One primary button on a screen.
import { type JSX, mergeProps, splitProps } from "solid-js";

type Kind = "primary" | "plain" | "subtle" | "danger" | "subtle danger";

export interface ButtonProps extends JSX.ButtonHTMLAttributes<HTMLButtonElement> {
  readonly kind?: Kind;
  /** Works on something: stays in place, and does nothing. */
  readonly isBusy?: boolean;
}

export function Button(props: ButtonProps) {
  const [own, rest] = splitProps(mergeProps({ kind: "plain" as const }, props), [
    "kind",
    "isBusy",
    "disabled",
  ]);
  return (
    <button
      type="button"
      {...rest}
      class={`button ${own.kind}`}
      disabled={own.disabled === true}
      // One that is disabled would lose the focus.
      aria-disabled={own.isBusy === true}
      aria-busy={own.isBusy === true}
      on:click={(event: MouseEvent) => {
        if (own.isBusy !== true) return;
        event.preventDefault();
        event.stopImmediatePropagation();
      }}
    />
  );
}

export function LinkButton(props: {
  readonly href: string;
  readonly kind?: Kind;
  readonly children: JSX.Element;
}) {
  return (
    <a class={`button ${props.kind ?? "plain"}`} href={props.href}>
      {props.children}
    </a>
  );
}
