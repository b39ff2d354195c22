// Check: whether this browser can fine-tune, what it offers, and what fits. The first visit begins here.
import { Match, onMount, Show, Switch } from "solid-js";
import { Button, LinkButton } from "../parts/Button.tsx";
import { Notice } from "../parts/Notice.tsx";
import { Screen } from "../parts/Screen.tsx";
import { hrefOf } from "../router.ts";
import { useSession, useText } from "../session.ts";
import { CheckFacts } from "./CheckFacts.tsx";
import { CheckKernels } from "./CheckKernels.tsx";
import { CheckNotes } from "./CheckNotes.tsx";
import { CheckSizes } from "./CheckSizes.tsx";
import "./check.css";

export function Check() {
  const { app, check, runs } = useSession();
  const text = useText();
  const isFirstVisit = () => runs.list().length === 0;
  onMount(() => void app.attempt(() => check.refreshStorage()));
  onMount(() => void app.attempt(() => check.refreshKernels()));
  return (
    <Screen
      title={text().plan.check.title}
      lead={text().plan.check.lead}
      actions={
        <Show
          when={check.problem() === undefined}
          fallback={
            <Button kind="primary" onClick={() => void check.start()}>
              {text().app.retry}
            </Button>
          }
        >
          <LinkButton kind={isFirstVisit() ? "plain" : "primary"} href={hrefOf("model")}>
            {text().app.next(text().app.screens.model)}
          </LinkButton>
        </Show>
      }
    >
      <Support />
      <Show when={check.gpu()}>
        <SampleCard isFirst={isFirstVisit()} />
      </Show>
      <CheckNotes />
      <Show when={check.gpu()}>
        <CheckSizes />
        <CheckFacts />
        <Show when={check.kernels()}>{(table) => <CheckKernels table={table()} />}</Show>
      </Show>
    </Screen>
  );
}

/** The verdict in a sentence, or the fault and the next step. */
function Support() {
  const { check } = useSession();
  const text = useText();
  const words = () => text().plan.check.support;
  return (
    <Switch fallback={<p role="status">{text().plan.check.looking}</p>}>
      <Match when={check.problem()}>
        {(problem) => {
          const lines = () => problem().split("\n");
          return (
            <div class="stack tight">
              <h2>{words().cannot}</h2>
              <Notice kind="bad" problem={lines()[0] ?? ""} remedy={lines().slice(1).join("\n")} />
            </div>
          );
        }}
      </Match>
      <Match when={check.gpu()}>
        {(gpu) => (
          <Notice
            kind={gpu().isSoftware ? "warn" : "good"}
            problem={gpu().isSoftware ? words().readySoftware : words().ready}
            remedy={gpu().isSoftware ? text().plan.check.notes.software.remedy : undefined}
          />
        )}
      </Match>
    </Switch>
  );
}

function SampleCard(props: { readonly isFirst: boolean }) {
  const { check, live } = useSession();
  const text = useText();
  const words = () => text().plan.check.sample;
  return (
    <section class="card" classList={{ "check-sample": props.isFirst }}>
      <h2>{words().title}</h2>
      <p>{words().text}</p>
      <div class="row">
        <Button
          kind={props.isFirst ? "primary" : "plain"}
          isBusy={check.isPreparingSample()}
          disabled={live.isRunning()}
          onClick={() => void check.trySample()}
        >
          {check.isPreparingSample() ? words().preparing : words().button}
        </Button>
        <span class="small quiet">{words().steps}</span>
      </div>
    </section>
  );
}
