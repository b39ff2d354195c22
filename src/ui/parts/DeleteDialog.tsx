// The question before something is deleted. What goes and what stays is the caller's to say.
import { createEffect, createSignal, type JSX, on, Show } from "solid-js";
import { messageOf } from "../../base/error.ts";
import { focusTitleIfLost } from "../focus.ts";
import { Button } from "./Button.tsx";
import { Dialog } from "./Dialog.tsx";
import { ErrorNotice } from "./Notice.tsx";

export function DeleteDialog(props: {
  /** What is to go, by id; undefined while nothing is asked. */
  readonly id: string | undefined;
  readonly title: string;
  /** The button's words. */
  readonly action: string;
  /** It is in use: the caller says by what. */
  readonly isInUse: boolean;
  readonly remove: (id: string) => Promise<unknown>;
  readonly onClose: () => void;
  readonly children: JSX.Element;
}) {
  const [problem, setProblem] = createSignal<string>();
  const [isBusy, setIsBusy] = createSignal(false);
  createEffect(
    on(
      () => props.id,
      () => setProblem(undefined),
    ),
  );
  const remove = async () => {
    if (props.id === undefined) return;
    setIsBusy(true);
    try {
      await props.remove(props.id);
      props.onClose();
      focusTitleIfLost();
    } catch (error) {
      setProblem(messageOf(error));
    } finally {
      setIsBusy(false);
    }
  };
  return (
    <Dialog
      isOpen={props.id !== undefined}
      onClose={() => props.onClose()}
      title={props.title}
      actions={
        <Button
          kind="danger"
          isBusy={isBusy()}
          disabled={props.isInUse}
          onClick={() => void remove()}
        >
          {props.action}
        </Button>
      }
    >
      {props.children}
      <Show when={problem()}>{(message) => <ErrorNotice message={message()} />}</Show>
    </Dialog>
  );
}
