// Warnings, and the checkpoints that were saved.
import { For, Show } from "solid-js";
import { formatCount } from "../../base/format.ts";
import { Button } from "../parts/Button.tsx";
import { useSession, useText } from "../session.ts";

export function LiveLog() {
  return (
    <div class="columns">
      <Checkpoints />
      <Warnings />
    </div>
  );
}

function Checkpoints() {
  const { live, tryout } = useSession();
  const text = useText();
  const config = () => live.record()?.config;
  // Older ones are removed as newer ones are saved.
  const kept = () => {
    const limit = config()?.save_total_limit ?? -1;
    const all = live.report().checkpoints;
    return (limit > 0 ? all.slice(-limit) : all).toReversed();
  };
  const talk = (checkpoint: string) => {
    const run = live.record();
    if (run) tryout.choose(run.modelId, { kind: "run", runId: run.id, checkpoint });
  };
  return (
    <section class="card" aria-labelledby="live-checkpoints">
      <h2 id="live-checkpoints">{text().live.run.log.checkpoints}</h2>
      <Show
        when={kept().length > 0}
        fallback={
          <p class="quiet">
            {text().live.run.log.noCheckpoints(formatCount(config()?.save_steps ?? 0))}
          </p>
        }
      >
        <ul class="stack tight">
          <For each={kept()}>
            {(checkpoint) => (
              <li class="row apart">
                <span>
                  {text().live.run.log.atStep(formatCount(checkpoint.step))}{" "}
                  <code class="quiet">{checkpoint.name}</code>
                </span>
                <Show when={!live.isRunning() || live.record()?.status === "paused"}>
                  <Button kind="subtle" onClick={() => talk(checkpoint.name)}>
                    {text().live.run.log.try}
                  </Button>
                </Show>
              </li>
            )}
          </For>
        </ul>
        <Show when={(config()?.save_total_limit ?? -1) > 0}>
          <p class="small quiet">
            {text().live.run.log.kept(formatCount(config()?.save_total_limit ?? 0))}
          </p>
        </Show>
      </Show>
    </section>
  );
}

function Warnings() {
  const { live } = useSession();
  const text = useText();
  return (
    <section class="card" aria-labelledby="live-warnings">
      <h2 id="live-warnings">{text().live.run.log.warnings}</h2>
      <Show
        when={live.report().warnings.length > 0}
        fallback={<p class="quiet">{text().live.run.log.noWarnings}</p>}
      >
        <ul class="stack tight">
          <For each={live.report().warnings}>
            {(warning) => (
              <li class="live-warning">
                <span class="small quiet numeric">
                  {text().live.run.log.atStep(formatCount(warning.step))}
                </span>
                <p>{warning.message}</p>
              </li>
            )}
          </For>
        </ul>
      </Show>
    </section>
  );
}
