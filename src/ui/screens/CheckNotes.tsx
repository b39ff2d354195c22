// What works less well here than it could, each with its next step.
import { createSignal, Show } from "solid-js";
import { formatBytes } from "../../base/format.ts";
import { Button } from "../parts/Button.tsx";
import { Notice } from "../parts/Notice.tsx";
import { useSession, useText } from "../session.ts";
import { storageFault } from "../support.ts";

// The smallest model of use, with its run.
const SMALL_BUDGET_BYTES = 2 ** 30;

export function CheckNotes() {
  const { check } = useSession();
  const text = useText();
  const words = () => text().plan.check.notes;
  return (
    <>
      <Show when={check.gpu()?.hasF16 === false && check.gpu()?.isSoftware === false}>
        <Notice kind="info" problem={words().noF16.problem} remedy={words().noF16.remedy} />
      </Show>
      <Show when={check.gpu() && check.budgetBytes() < SMALL_BUDGET_BYTES}>
        <Notice
          kind="warn"
          problem={words().smallBudget(formatBytes(check.budgetBytes())).problem}
          remedy={words().smallBudget("").remedy}
        />
      </Show>
      <StorageNote />
    </>
  );
}

function StorageNote() {
  const { app, check } = useSession();
  const text = useText();
  const [isAsking, setIsAsking] = createSignal(false);
  const words = () => text().plan.check.notes;
  const fault = () => {
    const storage = check.storage();
    return storage && storageFault(storage);
  };
  const note = () => {
    const { quotaBytes = 0, usedBytes = 0 } = check.storage() ?? {};
    switch (fault()) {
      case "none":
        return words().storageNone;
      case "small":
        return words().storageSmall(formatBytes(Math.max(0, quotaBytes - usedBytes)));
      default:
        return words().storageTemporary;
    }
  };
  const keep = async () => {
    setIsAsking(true);
    const isKept = await check.persist();
    setIsAsking(false);
    if (isKept) app.tell("good", words().kept);
    else app.tell("info", words().notKept, words().notKeptRemedy);
  };
  return (
    <Show when={fault()}>
      <Notice
        kind={fault() === "none" ? "bad" : fault() === "small" ? "warn" : "info"}
        problem={note().problem}
        remedy={note().remedy}
        action={
          <Show when={fault() === "temporary"}>
            <div>
              <Button isBusy={isAsking()} onClick={() => void keep()}>
                {words().keep}
              </Button>
            </div>
          </Show>
        }
      />
    </Show>
  );
}
