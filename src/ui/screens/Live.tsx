// A run as it goes: what it does now, its curves, its answers, and the buttons that hold it.
import "./live.css";
import { createEffect, Match, on, Show, Switch } from "solid-js";
import { formatCount } from "../../base/format.ts";
import { Empty } from "../parts/Bits.tsx";
import { Button, LinkButton } from "../parts/Button.tsx";
import { Notice } from "../parts/Notice.tsx";
import { Screen } from "../parts/Screen.tsx";
import { hrefOf } from "../router.ts";
import { isUnderWay } from "../run-library.ts";
import { useSession, useText } from "../session.ts";
import type { OtherRun } from "../session-live.ts";
import { LiveAnswers } from "./LiveAnswers.tsx";
import { LiveCharts } from "./LiveCharts.tsx";
import { LiveFailure } from "./LiveFailure.tsx";
import { LiveLog } from "./LiveLog.tsx";
import { LiveProgress } from "./LiveProgress.tsx";

export function Live() {
  const { live, runs, app } = useSession();
  const text = useText();
  // With nothing under way, the run that was worked on last is shown, or the one that the address names.
  createEffect(
    on([runs.isListed, () => app.route().parameters.get("run")], ([isListed, named]) => {
      const wanted = named ?? live.record()?.id ?? newestRun(runs.list())?.id;
      if (isListed && wanted !== undefined && wanted !== live.record()?.id) void live.show(wanted);
    }),
  );
  return (
    <Screen
      title={text().app.screens.live}
      {...(live.record() && { lead: leadOf(live.record()) })}
      actions={<Actions />}
      summary={<Show when={live.isRunning()}>{text().live.run.awake.leaving}</Show>}
    >
      <Show when={live.otherRun()}>{(run) => <Elsewhere run={run()} />}</Show>
      <Show
        when={live.record()}
        fallback={
          <Show when={!live.otherRun()}>
            <Empty title={text().live.run.empty.title}>{text().live.run.empty.words}</Empty>
          </Show>
        }
      >
        <Show when={live.wasRestored() && live.isRunning()}>
          <Notice
            kind="info"
            problem={text().live.run.restored.problem}
            remedy={text().live.run.restored.remedy}
          />
        </Show>
        <Show when={live.report().recovering}>
          {(lost) => (
            <Notice
              kind="warn"
              problem={text().live.run.recovering(lost().attempt)}
              remedy={lost().reason}
            />
          )}
        </Show>
        <LiveFailure />
        <LiveProgress />
        <LiveCharts />
        <LiveAnswers />
        <LiveLog />
      </Show>
    </Screen>
  );

  function leadOf(record: ReturnType<typeof live.record>): string {
    return record ? text().live.run.lead(record.modelName, record.dataName) : "";
  }
}

/** The one that was changed last, of those that have done something. */
function newestRun<Run extends { readonly changedAt: string; readonly status: string }>(
  list: readonly Run[],
): Run | undefined {
  return list
    .filter(({ status }) => status !== "new")
    .toSorted((a, b) => b.changedAt.localeCompare(a.changedAt))[0];
}

function Elsewhere(props: { readonly run: OtherRun }) {
  const text = useText();
  return (
    <section
      class="card live-elsewhere"
      aria-label={text().live.run.elsewhere.title(props.run.name)}
    >
      <h2>{text().live.run.elsewhere.title(props.run.name)}</h2>
      <p class="quiet">{text().live.run.elsewhere.words}</p>
      <div class="row apart small">
        <span>{text().live.run.statuses[props.run.status]}</span>
        <span class="numeric quiet">
          {text().live.run.ofSteps(formatCount(props.run.step), formatCount(props.run.steps))}
        </span>
      </div>
      <progress
        aria-label={text().live.run.progress}
        value={props.run.step}
        max={Math.max(1, props.run.steps)}
      />
    </section>
  );
}

/** The buttons of the moment: one primary, the way on. */
function Actions() {
  const { live, app, tryout, exports } = useSession();
  const text = useText();
  const isPaused = () => live.record()?.status === "paused";
  /** Something can be tried and taken along. */
  const checkpoint = () => live.record()?.checkpoint ?? undefined;
  const canGoOn = () => {
    const status = live.record()?.status;
    return status !== undefined && status !== "finished" && !isUnderWay(status);
  };
  const talk = () => {
    const [run, name] = [live.record(), checkpoint()];
    if (run && name) tryout.choose(run.modelId, { kind: "run", runId: run.id, checkpoint: name });
  };
  const exportIt = () => {
    const run = live.record();
    if (run) exports.choose(run.id, checkpoint());
  };
  const isBusy = () => live.asked() !== undefined;
  return (
    <Switch
      fallback={
        <LinkButton kind="primary" href={hrefOf("review")}>
          {text().live.run.empty.review}
        </LinkButton>
      }
    >
      <Match when={live.isRunning()}>
        <Button isBusy={isBusy()} onClick={() => void (isPaused() ? live.resume() : live.pause())}>
          {isPaused() ? text().live.run.goOn : text().live.run.pause}
        </Button>
        <Button kind="primary" isBusy={isBusy()} onClick={() => void live.stop()}>
          {text().live.run.stop}
        </Button>
      </Match>
      <Match when={live.record()}>
        {(run) => (
          <>
            <Show when={canGoOn() && !live.error()}>
              <Button
                kind={checkpoint() ? "plain" : "primary"}
                disabled={live.otherRun() !== undefined}
                onClick={() => void live.continueRun(run().id)}
              >
                {text().live.run.continue}
              </Button>
            </Show>
            <Show
              when={checkpoint()}
              fallback={
                <Show when={!canGoOn()}>
                  <Button kind="primary" onClick={() => app.go("runs")}>
                    {text().app.screens.runs}
                  </Button>
                </Show>
              }
            >
              <Button onClick={exportIt}>{text().live.run.export}</Button>
              <Button kind="primary" onClick={talk}>
                {text().live.run.talk}
              </Button>
            </Show>
          </>
        )}
      </Match>
    </Switch>
  );
}
