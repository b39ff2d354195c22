// The two exports of weights: the adapter alone, and the model with it merged in.
import { For, type JSX, Match, Show, Switch } from "solid-js";
import { formatBytes } from "../../base/format.ts";
import type { MergeOptions } from "../../services/api.ts";
import { BytesProgress } from "../parts/Bits.tsx";
import { Button } from "../parts/Button.tsx";
import { SelectField } from "../parts/Fields.tsx";
import { ErrorNotice, Notice } from "../parts/Notice.tsx";
import { canPickFolder } from "../pick-folder.ts";
import { useSession, useText } from "../session.ts";
import type { ExportKind, ExportState } from "../session-export.ts";

const DTYPES: readonly MergeOptions["dtype"][] = ["own", "bfloat16", "float16", "float32"];
const BASES: readonly MergeOptions["base"][] = ["original", "nf4"];
const SHARDS = [500e6, 2e9, 5e9] as const;

export function ExportAdapter() {
  const { exports } = useSession();
  const text = useText();
  const words = () => text().live.exports.adapter;
  const isWriting = () => exports.states.adapter.step === "writing";
  return (
    <WeightsCard kind="adapter" title={words().title} words={words().words}>
      <Show when={exports.states.adapter.step !== "done"}>
        <div>
          <Button kind="primary" isBusy={isWriting()} onClick={() => void exports.saveAdapter()}>
            {words().save}
          </Button>
        </div>
      </Show>
    </WeightsCard>
  );
}

export function ExportMerged() {
  const { exports } = useSession();
  const text = useText();
  const words = () => text().live.exports.merged;
  const isWriting = () => exports.states.merged.step === "writing";
  return (
    <WeightsCard kind="merged" title={words().title} words={words().words}>
      <Show when={exports.states.merged.step !== "done"}>
        <details>
          <summary>{words().options}</summary>
          <div class="stack">
            <SelectField
              label={words().dtype}
              value={exports.merge.dtype}
              options={DTYPES.map((value) => ({ value, label: words().dtypes[value] }))}
              onChange={(dtype) => exports.setMerge({ dtype })}
            />
            <SelectField
              label={words().base}
              help={words().baseHelp}
              value={exports.merge.base}
              options={BASES.map((value) => ({ value, label: words().bases[value] }))}
              onChange={(base) => exports.setMerge({ base })}
            />
            <SelectField
              label={words().shard}
              value={String(exports.merge.maxShardBytes)}
              options={SHARDS.map((bytes) => ({
                value: String(bytes),
                label: bytes < 1e9 ? `${bytes / 1e6} MB` : `${bytes / 1e9} GB`,
              }))}
              onChange={(bytes) => exports.setMerge({ maxShardBytes: Number(bytes) })}
            />
          </div>
        </details>
        <div class="row">
          <Button isBusy={isWriting()} onClick={() => void exports.writeMerged()}>
            {words().write}
          </Button>
          <Show when={canPickFolder()}>
            <Button isBusy={isWriting()} onClick={() => void exports.writeMergedToFolder()}>
              {words().writeToFolder}
            </Button>
          </Show>
        </div>
      </Show>
    </WeightsCard>
  );
}

function WeightsCard(props: {
  readonly kind: ExportKind;
  readonly title: string;
  readonly words: string;
  readonly children: JSX.Element;
}) {
  const { exports } = useSession();
  const text = useText();
  const state = () => exports.states[props.kind];
  const as = <Step extends ExportState["step"]>(step: Step) => {
    const known = state();
    return known.step === step ? (known as Extract<ExportState, { readonly step: Step }>) : false;
  };
  const size = () => exports.sizes()[props.kind];
  return (
    <section class="card" aria-labelledby={`export-${props.kind}`}>
      <div class="row apart">
        <h2 id={`export-${props.kind}`}>{props.title}</h2>
        <Show when={state().step !== "done" && size()}>
          {(bytes) => (
            <span class="small quiet">{text().live.exports.size(formatBytes(bytes()))}</span>
          )}
        </Show>
      </div>
      <p class="quiet">{props.words}</p>
      {props.children}
      <Switch>
        <Match when={as("writing")}>
          {(progress) => (
            <BytesProgress
              label={
                props.kind === "merged"
                  ? text().live.exports.merged.writing
                  : text().live.exports.writing
              }
              bytes={progress().bytes}
              totalBytes={progress().totalBytes}
            />
          )}
        </Match>
        <Match when={as("failed")}>{(failed) => <ErrorNotice message={failed().problem} />}</Match>
        <Match when={as("done")}>{(done) => <Written kind={props.kind} done={done()} />}</Match>
      </Switch>
    </section>
  );
}

function Written(props: {
  readonly kind: ExportKind;
  readonly done: Extract<ExportState, { readonly step: "done" }>;
}) {
  const { exports } = useSession();
  const text = useText();
  const words = () => text().live.exports;
  const result = () => props.done.result;
  const isStored = () => props.done.folder === undefined;
  return (
    <>
      <Notice kind="good" problem={words().checked(result().check)} />
      <Show when={props.done.folder}>{(folder) => <p>{words().merged.inFolder(folder())}</p>}</Show>
      <details open={result().files.length < 8}>
        <summary>
          {words().files} <span class="quiet">{words().sizeIs(formatBytes(result().bytes))}</span>
        </summary>
        <ul class="export-files">
          <For each={result().files}>
            {(file) => (
              <li>
                <code>{file.name}</code>
                <span class="numeric quiet">{formatBytes(file.bytes)}</span>
                <Show when={isStored()}>
                  <Button
                    kind="subtle"
                    aria-label={words().saveOne(file.name)}
                    onClick={() => void exports.saveOne(props.kind, file.name)}
                  >
                    {words().download}
                  </Button>
                </Show>
              </li>
            )}
          </For>
        </ul>
      </details>
      <div class="row">
        <Show when={isStored()}>
          <Button
            kind={props.kind === "adapter" ? "primary" : "plain"}
            onClick={() => void exports.saveZip(props.kind)}
          >
            {words().zip}
          </Button>
        </Show>
        <Button kind="subtle" onClick={() => void exports.discard(props.kind)}>
          {isStored() ? words().discard : text().app.dismiss}
        </Button>
      </div>
    </>
  );
}
