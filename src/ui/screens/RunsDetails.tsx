// A run opened: its name and notes to be written in, where it came from, and what can be done with it.
import { createSignal, onCleanup, Show } from "solid-js";
import type { RunRecord } from "../../services/api.ts";
import { formatDate } from "../dates.ts";
import { Fact } from "../parts/Bits.tsx";
import { Button } from "../parts/Button.tsx";
import { TextField } from "../parts/Fields.tsx";
import { ErrorNotice } from "../parts/Notice.tsx";
import { canContinue } from "../run-library.ts";
import { useSession, useText } from "../session.ts";

interface DetailsProps {
  readonly run: RunRecord;
  readonly onFork: () => void;
  readonly onDelete: () => void;
}

export function RunsDetails(props: DetailsProps) {
  return (
    <div class="stack runs-details">
      <Show when={props.run.error}>{(error) => <ErrorNotice message={error()} />}</Show>
      <div class="columns">
        <Words run={props.run} />
        <Origins run={props.run} />
      </div>
      <Actions {...props} />
    </div>
  );
}

/** Name and notes, each saved when its field is left. */
function Words(props: { readonly run: RunRecord }) {
  const { app, runs } = useSession();
  const text = useText();
  const words = () => text().library.runs.details;
  const [problem, setProblem] = createSignal<string>();
  const [draft, setDraft] = createSignal<string>();
  const rename = (typed: string) => {
    const name = typed.trim();
    setProblem(name === "" ? words().nameProblem : undefined);
    if (name !== "" && name !== props.run.name) {
      void app.attempt(() => runs.rename(props.run.id, name));
    }
  };
  const save = () => {
    const notes = draft();
    setDraft(undefined);
    if (notes === undefined || notes === props.run.notes) return;
    void app.attempt(() => runs.setNotes(props.run.id, notes));
  };
  // A field that goes away is left without being told so.
  onCleanup(save);
  return (
    <div class="stack tight">
      <TextField
        label={words().name}
        problem={problem()}
        value={props.run.name}
        onChange={rename}
      />
      <TextField
        label={words().notes}
        help={words().notesHelp}
        rows={3}
        value={draft() ?? props.run.notes}
        onInput={setDraft}
        onChange={save}
      />
    </div>
  );
}

function Origins(props: { readonly run: RunRecord }) {
  const { app, models, runs } = useSession();
  const text = useText();
  const words = () => text().library.runs.details;
  const isModelHere = () => models.list().some(({ id }) => id === props.run.modelId);
  const parent = () => {
    const from = props.run.parent;
    if (!from) return undefined;
    const run = runs.list().find(({ id }) => id === from.runId);
    return words().parentAt(run?.name ?? words().parentGone, from.checkpoint);
  };
  return (
    <dl class="facts plain runs-origins">
      <Fact name={words().model}>
        {props.run.modelName}
        <Show when={!isModelHere()}>
          <span class="quiet"> ({words().modelGone})</span>
        </Show>
      </Fact>
      <Fact name={words().data}>{props.run.dataName}</Fact>
      <Fact name={words().checkpoints}>{props.run.checkpoints.join(", ") || words().none}</Fact>
      <Fact name={words().changed}>{formatDate(props.run.changedAt, app.language())}</Fact>
      <Show when={parent()}>{(from) => <Fact name={words().parent}>{from()}</Fact>}</Show>
    </dl>
  );
}

function Actions(props: DetailsProps) {
  const { app, exports, live, models, tryout } = useSession();
  const text = useText();
  const words = () => text().library.runs.details;
  const isModelHere = () => models.list().some(({ id }) => id === props.run.modelId);
  const isBusy = () => live.isRunning() || live.elsewhere() !== undefined;
  const named = (action: string) => words().of(action, props.run.name);
  const open = async () => {
    await app.attempt(() => live.show(props.run.id));
    app.go("live");
  };
  const tryIt = () => {
    const { checkpoint, id, modelId } = props.run;
    if (checkpoint !== null) tryout.choose(modelId, { kind: "run", runId: id, checkpoint });
  };
  return (
    <div class="stack tight">
      <div class="row">
        <Button aria-label={named(words().open)} onClick={() => void open()}>
          {words().open}
        </Button>
        <Show when={canContinue(props.run)}>
          <Button
            aria-label={named(words().continue)}
            disabled={isBusy() || !isModelHere()}
            onClick={() => void app.attempt(() => live.continueRun(props.run.id))}
          >
            {words().continue}
          </Button>
        </Show>
        <Button aria-label={named(words().fork)} onClick={() => props.onFork()}>
          {words().fork}
        </Button>
        <Show when={props.run.checkpoint}>
          <Button aria-label={named(words().try)} disabled={!isModelHere()} onClick={tryIt}>
            {words().try}
          </Button>
          <Button
            aria-label={named(words().export)}
            onClick={() => exports.choose(props.run.id, props.run.checkpoint ?? undefined)}
          >
            {words().export}
          </Button>
        </Show>
        <Button
          kind="subtle danger"
          aria-label={named(words().delete)}
          onClick={() => props.onDelete()}
        >
          {words().delete}
        </Button>
      </div>
      <Show when={canContinue(props.run) && isBusy()}>
        <p class="small quiet">{words().busy}</p>
      </Show>
      <Show when={props.run.checkpoint === null}>
        <p class="small quiet">{words().noCheckpoint}</p>
      </Show>
    </div>
  );
}
