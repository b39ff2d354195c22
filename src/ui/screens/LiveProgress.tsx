// How far the run is, in phases, words and numbers.
import { For, Show } from "solid-js";
import { formatBytes, formatCount, formatDuration } from "../../base/format.ts";
import type { LiveReport, Phase } from "../live-report.ts";
import { Badge, Fact } from "../parts/Bits.tsx";
import { formatValue } from "../parts/chart-data.ts";
import { CheckField } from "../parts/Fields.tsx";
import { useSession, useText } from "../session.ts";
import type { Text } from "../text/table.ts";

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
  const begun = () => (live.isRunning() ? beginningOf(live.report(), text()) : undefined);
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
      <div class="live-doing">
        <p role="status">
          <Doing />
        </p>
        <Show when={begun()}>
          {(now) => <span class="small numeric quiet">{now().words}</span>}
        </Show>
      </div>
      <progress
        aria-label={begun()?.name ?? text().live.run.progress}
        value={begun()?.done ?? live.record()?.step ?? 0}
        max={Math.max(1, begun()?.total ?? live.record()?.steps ?? 1)}
      />
      <Numbers />
      <Show when={live.isRunning()}>
        <KeepAlive />
      </Show>
    </section>
  );
}

/** How far a phase before the first step is, where that is known. */
function beginningOf({ phase, tuning, loading }: LiveReport, { app, live }: Text) {
  const name = live.run.phases[phase];
  if (phase === "tune" && tuning) {
    const { done, total, share } = tuning;
    const words = app.doneOf(String(done), String(total));
    return { name, done: done + share, total, words };
  }
  if (phase !== "load" || !loading) return undefined;
  const { bytes, totalBytes } = loading;
  const words = app.doneOf(formatBytes(bytes), formatBytes(totalBytes));
  return { name, done: bytes, total: totalBytes, words };
}

function Phases() {
  const { live } = useSession();
  const text = useText();
  // Where all is known, and on software, none is tried.
  const isTried = () => live.report().phase === "tune" || live.report().tuning !== undefined;
  const phases = () => PHASES.filter((phase) => phase !== "tune" || isTried());
  const now = () => phases().indexOf(live.report().phase);
  return (
    <ol class="live-phases" aria-label={text().live.run.phasesLabel}>
      <For each={phases()}>
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
