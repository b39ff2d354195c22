// Runs: all that was trained here, and beside it the comparison of a few ("#/runs?compare=id,id").
import "./runs.css";
import { createMemo, createSignal, Show } from "solid-js";
import { formatCount } from "../../base/format.ts";
import type { RunRecord } from "../../services/api.ts";
import { Empty } from "../parts/Bits.tsx";
import { Button, LinkButton } from "../parts/Button.tsx";
import { TextField } from "../parts/Fields.tsx";
import { Screen } from "../parts/Screen.tsx";
import { hrefOf } from "../router.ts";
import { findRuns, pageOf } from "../run-library.ts";
import { useSession, useText } from "../session.ts";
import { RunsCompare } from "./RunsCompare.tsx";
import { RunsDelete } from "./RunsDelete.tsx";
import { RunsFork } from "./RunsFork.tsx";
import { RunsTable } from "./RunsTable.tsx";

const RUNS_ON_A_PAGE = 25;
// With fewer, looking is faster than typing.
const RUNS_TO_SEARCH = 8;

export function Runs() {
  const { app } = useSession();
  const compared = () => app.route().parameters.get("compare")?.split(",") ?? [];
  return (
    <Show when={compared().length > 0} fallback={<History />}>
      <RunsCompare ids={compared()} />
    </Show>
  );
}

function History() {
  const { app, runs } = useSession();
  const text = useText();
  const words = () => text().library.runs;
  const canCompare = () => runs.compared().length > 1;
  const actions = () => (
    <>
      <Show when={runs.compared().length > 0}>
        <Button onClick={() => runs.clearCompared()}>{words().compare.clear}</Button>
      </Show>
      <Show
        when={canCompare()}
        fallback={
          <Button kind="primary" onClick={() => app.go("model")}>
            {words().newRun}
          </Button>
        }
      >
        <Button
          kind="primary"
          onClick={() => app.go("runs", { compare: runs.compared().join(",") })}
        >
          {words().compare.action(runs.compared().length)}
        </Button>
      </Show>
    </>
  );
  const summary = () => {
    const count = runs.compared().length;
    if (count === 0) return words().compare.hint;
    return count === 1 ? words().compare.one : words().compare.chosen(count);
  };
  return (
    <Screen
      title={words().title}
      lead={words().lead}
      summary={runs.list().length > 1 ? summary() : undefined}
      actions={runs.list().length > 0 ? actions() : undefined}
    >
      <Show when={runs.isListed()} fallback={<p class="quiet">{words().reading}</p>}>
        <Show when={runs.list().length > 0} fallback={<NoRuns />}>
          <Shelf />
        </Show>
      </Show>
    </Screen>
  );
}

function NoRuns() {
  const text = useText();
  const words = () => text().library.runs.empty;
  return (
    <Empty
      title={words().title}
      action={
        <LinkButton kind="primary" href={hrefOf("model")}>
          {words().action}
        </LinkButton>
      }
    >
      {words().body}
    </Empty>
  );
}

/** A page of the runs that were looked for. */
function Shelf() {
  const { runs } = useSession();
  const text = useText();
  const words = () => text().library.runs;
  const [query, setQuery] = createSignal("");
  const [page, setPage] = createSignal(0);
  const [toFork, setToFork] = createSignal<RunRecord>();
  const [toDelete, setToDelete] = createSignal<RunRecord>();
  const found = createMemo(() => findRuns(runs.list(), query()));
  const shown = createMemo(() => pageOf(found(), page(), RUNS_ON_A_PAGE));
  const all = () => formatCount(runs.list().length);
  const search = (wanted: string) => {
    setQuery(wanted);
    setPage(0);
  };
  return (
    <>
      <Show when={runs.list().length >= RUNS_TO_SEARCH}>
        <div class="runs-search">
          <TextField
            label={words().find}
            help={words().findHelp}
            value={query()}
            onInput={search}
            onChange={search}
          />
          <p class="quiet small numeric" role="status">
            {query().trim() === ""
              ? words().count(all())
              : words().found(formatCount(found().length), all())}
          </p>
        </div>
      </Show>
      <Show when={found().length > 0} fallback={<p class="quiet">{words().noneFound}</p>}>
        <RunsTable runs={shown().entries} onFork={setToFork} onDelete={setToDelete} />
      </Show>
      <Show when={shown().pages > 1}>
        <Pages page={shown().page} pages={shown().pages} onChange={setPage} />
      </Show>
      <RunsFork run={toFork()} onClose={() => setToFork(undefined)} />
      <RunsDelete run={toDelete()} onClose={() => setToDelete(undefined)} />
    </>
  );
}

function Pages(props: {
  readonly page: number;
  readonly pages: number;
  readonly onChange: (page: number) => void;
}) {
  const text = useText();
  const words = () => text().library.runs.pages;
  return (
    <nav class="row runs-pages" aria-label={words().label}>
      <Button disabled={props.page === 0} onClick={() => props.onChange(props.page - 1)}>
        {words().previous}
      </Button>
      <span class="numeric quiet" aria-live="polite">
        {words().at(formatCount(props.page + 1), formatCount(props.pages))}
      </span>
      <Button
        disabled={props.page + 1 === props.pages}
        onClick={() => props.onChange(props.page + 1)}
      >
        {words().next}
      </Button>
    </nav>
  );
}
