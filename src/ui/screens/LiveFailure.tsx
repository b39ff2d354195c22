// Why a run ended before it was done, and what can be done about it.
import { createMemo, Show } from "solid-js";
import { unwrap } from "solid-js/store";
import { settingsIn } from "../live-report.ts";
import { Button } from "../parts/Button.tsx";
import { ErrorNotice } from "../parts/Notice.tsx";
import { useSession, useText } from "../session.ts";

export function LiveFailure() {
  const session = useSession();
  const { live, app, recipe, models, data } = session;
  const text = useText();
  const settings = createMemo(() => settingsIn(live.error() ?? ""));
  const canGoOn = () => live.record()?.status !== "finished";
  const change = () => {
    const run = live.record();
    if (!run) return;
    models.select(run.modelId);
    data.select(run.dataIds);
    recipe.load(structuredClone(unwrap(run.config)));
    for (const { path, value } of settings()) recipe.set(path, readValue(value));
    app.go("review");
  };
  return (
    <Show when={!live.isRunning() && live.error()}>
      {(message) => (
        <section class="stack tight" aria-label={text().live.run.statuses.failed}>
          <ErrorNotice message={message()} />
          <div class="row">
            <Show when={canGoOn()}>
              <Button onClick={() => void live.continueRun(live.record()?.id ?? "")}>
                {live.record()?.checkpoint
                  ? text().live.run.failed.continue
                  : text().live.run.failed.again}
              </Button>
            </Show>
            <Button onClick={change}>
              {settings().length > 0
                ? text().live.run.failed.apply(
                    settings()
                      .map(({ path, value }) => `${path}=${value}`)
                      .join(", "),
                  )
                : text().live.run.failed.review}
            </Button>
          </div>
        </section>
      )}
    </Show>
  );
}

/** As it would stand in a config file. */
function readValue(text: string): string | number | boolean {
  if (text === "true" || text === "false") return text === "true";
  const number = Number(text);
  return Number.isNaN(number) ? text : number;
}
