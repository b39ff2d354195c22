// How far the run is, in phases, words and numbers.
import { For, Match, Show, Switch } from "solid-js";
import { formatBytes, formatCount, formatDuration } from "../../base/format.ts";
import type { Phase } from "../live-report.ts";
import { Badge, BytesProgress, Fact, KernelsProgress } from "../parts/Bits.tsx";
import { formatValue } from "../parts/chart-data.ts";
import { CheckField } from "../parts/Fields.tsx";
import { useSession, useText } from "../session.ts";

const PHASES: readonly Phase[] = ["start", "data", "tune", "load", "compile", "train"];

const BADGES = {
  new: undefined,
  running: "accent",
  paused: "warn",
  stopped: undefined,
  interrupted: "warn",
  finished: "good",
  failed: "bad",
} as const;

export function LiveProgress() {
  const { live } = useSession();
  const text = useText();
  const status = () => live.record()?.status ?? "new";
  const loading = () => (live.report().phase === "load" ? live.report().loading : undefined);
  const tuning = () => (live.report().phase === "tune" ? live.report().tuning : undefined);
  const badge = (): { kind?: "accent" | "warn" | "good" | "bad" } => {
    const kind = BADGES[status()];
    return kind ? { kind } : {};
  };
  return (
    <section class="card" aria-label={text().live.run.progress}>
      <div class="row apart">
        <h2 class="live-name">{live.record()?.name}</h2>
        <Badge {...badge()}>{text().live.run.statuses[status()]}</Badge>
      </div>
      <Show when={live.isRunning()}>
        <Phases />
      </Show>
      <p class="live-doing" role="status">
        <Doing />
      </p>
      <Switch
        fallback={
          <progress
            aria-label={text().live.run.progress}
            value={live.record()?.step ?? 0}
            max={Math.max(1, live.record()?.steps ?? 1)}
          />
        }
      >
        <Match when={live.isRunning() && tuning()}>{(now) => <KernelsProgress {...now()} />}</Match>
        <Match when={live.isRunning() && loading()}>
          {(now) => <BytesProgress label={text().live.run.loadingModel} {...now()} />}
        </Match>
      </Switch>
      <Numbers />
      <Show when={live.isRunning()}>
        <KeepAlive />
      </Show>
    </section>
  );
}

function Phases() {
  const { live } = useSession();
  const text = useText();
  const now = () => PHASES.indexOf(live.report().phase);
  return (
    <ol class="live-phases" aria-label={text().live.run.phasesLabel}>
      <For each={PHASES}>
        {(phase, i) => (
          <li
            classList={{ "is-done": i() < now(), "is-now": i() === now() }}
            aria-current={i() === now() ? "step" : undefined}
          >
            <span aria-hidden="true">{i() < now() ? "✓" : i() + 1}</span>
            {text().live.run.phases[phase]}
            <Show when={i() < now()}>
              <span class="visually-hidden">({text().app.done})</span>
            </Show>
          </li>
        )}
      </For>
    </ol>
  );
}

/** What is happening, in a sentence. */
function Doing() {
  const { live } = useSession();
  const text = useText();
  const words = () => {
    const { doing } = text().live.run;
    const status = live.record()?.status ?? "new";
    if (!live.isRunning()) return status === "running" ? doing.interrupted : doing[status];
    const asked = live.asked();
    if (asked === "pause") return doing.pausing;
    if (asked === "stop") return doing.stopping;
    if (asked === "resume") return doing.resuming;
    if (status === "paused") return doing.paused;
    const { phase, isFresh } = live.report();
    return phase === "train" && !isFresh ? doing.first : doing[phase];
  };
  return <>{words()}</>;
}

function Numbers() {
  const { live } = useSession();
  const text = useText();
  const latest = () => live.report().latest;
  const run = () => live.record();
  const names = () => text().live.run.facts;
  const isLive = () => live.isRunning() && live.report().isFresh;
  return (
    <>
      <dl class="facts">
        <Fact name={names().step}>
          {text().live.run.ofSteps(formatCount(run()?.step ?? 0), formatCount(run()?.steps ?? 0))}
        </Fact>
        <Show when={latest()}>
          {(step) => (
            <>
              <Fact name={names().loss}>{formatValue(step().loss)}</Fact>
              <Show when={live.report().evals.at(-1)}>
                {(held) => <Fact name={names().heldOut}>{formatValue(held().loss)}</Fact>}
              </Show>
              <Fact name={names().epoch}>{step().epoch.toFixed(2)}</Fact>
              <Show when={isLive()}>
                <Fact name={names().left}>{formatDuration(step().etaSeconds)}</Fact>
              </Show>
              <Fact name={names().speed}>
                {text().live.run.tokensPerSecond(formatCount(step().tokensPerSecond))}
              </Fact>
            </>
          )}
        </Show>
        <Show when={live.elapsedMs() > 0}>
          <Fact name={names().elapsed}>{formatDuration(live.elapsedMs() / 1000)}</Fact>
        </Show>
        <Show when={live.report().plan}>
          {(plan) => <Fact name={names().memory}>{formatBytes(plan().memory.total)}</Fact>}
        </Show>
      </dl>
      <Show when={(latest()?.skipped ?? 0) > 0}>
        <p class="small quiet">{text().live.run.skipped(formatCount(latest()?.skipped ?? 0))}</p>
      </Show>
    </>
  );
}

function KeepAlive() {
  const { live } = useSession();
  const text = useText();
  return (
    <div class="live-awake">
      <CheckField
        label={text().live.run.awake.switch}
        isChecked={live.keepsAwake()}
        onChange={(isChecked) => live.setKeepsAwake(isChecked)}
        help={`${text().live.run.awake[live.wakeState()]} ${text().live.run.awake.tab}`}
      />
    </div>
  );
}
