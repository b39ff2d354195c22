// A question over the page: focus stays inside, Escape cancels, and goes back to where it was.
import { Dialog as Kobalte } from "@kobalte/core/dialog";
import { createComputed, type JSX } from "solid-js";
import { useText } from "../session.ts";
import { Button } from "./Button.tsx";

export function Dialog(props: {
  readonly isOpen: boolean;
  readonly onClose: () => void;
  readonly title: string;
  readonly children: JSX.Element;
  /** Buttons beside "cancel". */
  readonly actions?: JSX.Element;
}) {
  const text = useText();
  let opener: Element | null = null;
  createComputed(() => {
    if (props.isOpen) opener = document.activeElement;
  });
  // What opened it may have gone with what was asked about.
  const giveBackFocus = (event: Event) => {
    event.preventDefault();
    const place = opener?.isConnected ? opener : document.querySelector("#content h1");
    if (place instanceof HTMLElement) place.focus({ preventScroll: true });
  };
  return (
    <Kobalte open={props.isOpen} onOpenChange={(isOpen) => !isOpen && props.onClose()}>
      <Kobalte.Portal>
        <Kobalte.Overlay class="dialog-ground" />
        <div class="dialog-place">
          <Kobalte.Content class="dialog" onCloseAutoFocus={giveBackFocus}>
            <Kobalte.Title as="h2">{props.title}</Kobalte.Title>
            {props.children}
            <div class="dialog-actions">
              <Button onClick={() => props.onClose()}>{text().app.cancel}</Button>
              {props.actions}
            </div>
          </Kobalte.Content>
        </div>
      </Kobalte.Portal>
    </Kobalte>
  );
}
