// Taking along what was learned: an adapter, a merged model, the records, and how to use them elsewhere.
import "./export.css";
import { Show } from "solid-js";
import { Empty } from "../parts/Bits.tsx";
import { Button, LinkButton } from "../parts/Button.tsx";
import { SelectField } from "../parts/Fields.tsx";
import { Screen } from "../parts/Screen.tsx";
import { hrefOf } from "../router.ts";
import { useSession, useText } from "../session.ts";
import { ExportAdapter, ExportMerged } from "./ExportWeights.tsx";
import { ExportShare } from "./ExportShare.tsx";
import { ExportUse } from "./ExportUse.tsx";

export function Export() {
  const { exports, runs } = useSession();
  const text = useText();
  const words = () => text().live.exports;
  return (
    <Screen title={text().app.screens.export} lead={words().lead}>
      <Show
        when={exports.run()}
        fallback={
          <Show when={runs.isListed()}>
            <Empty
              title={words().empty.title}
              action={
                <LinkButton kind="primary" href={hrefOf("live")}>
                  {words().empty.action}
                </LinkButton>
              }
            >
              {words().empty.words}
            </Empty>
          </Show>
        }
      >
        <Choice />
        <div class="export-pair">
          <ExportAdapter />
          <ExportMerged />
        </div>
        <Records />
        <ExportUse />
        <ExportShare />
      </Show>
    </Screen>
  );
}

function Choice() {
  const { exports } = useSession();
  const text = useText();
  const words = () => text().live.exports.choose;
  return (
    <section class="card" aria-labelledby="export-choice">
      <h2 id="export-choice">{words().title}</h2>
      <div class="columns">
        <SelectField
          label={words().run}
          value={exports.run()?.id ?? ""}
          options={exports.runs().map(({ id, name }) => ({ value: id, label: name }))}
          onChange={(id) => exports.choose(id)}
        />
        <SelectField
          label={words().checkpoint}
          value={exports.checkpoint() ?? ""}
          options={(exports.run()?.checkpoints ?? [])
            .toReversed()
            .map((name) => ({ value: name, label: name }))}
          onChange={(name) => exports.choose(exports.run()?.id ?? "", name)}
        />
      </div>
    </section>
  );
}

function Records() {
  const { exports } = useSession();
  const text = useText();
  const words = () => text().live.exports.others;
  return (
    <section class="stack" aria-labelledby="export-records">
      <h2 id="export-records">{words().title}</h2>
      <div class="columns">
        <div class="card">
          <h3>{words().config}</h3>
          <p class="quiet">{words().configWords}</p>
          <div>
            <Button onClick={() => void exports.saveConfig()}>{words().saveConfig}</Button>
          </div>
        </div>
        <div class="card">
          <h3>{words().history}</h3>
          <p class="quiet">{words().historyWords}</p>
          <div>
            <Button onClick={() => void exports.saveHistory()}>{words().saveHistory}</Button>
          </div>
        </div>
      </div>
    </section>
  );
}
