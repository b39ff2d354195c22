// Two to four runs over each other: their curves, where their recipes differ, and what each came to.
import { createEffect, createMemo, createSignal, For, type JSX, on, Show } from "solid-js";
import { formatCount, formatDuration } from "../../base/format.ts";
import type { RunHistory, RunRecord } from "../../services/api.ts";
import { configDifferences } from "../config-difference.ts";
import { LinkButton } from "../parts/Button.tsx";
import { formatValue } from "../parts/chart-data.ts";
import { Screen } from "../parts/Screen.tsx";
import { hrefOf } from "../router.ts";
import { resultOf, type RunResult } from "../run-library.ts";
import { useSession, useText } from "../session.ts";
import { MOST_COMPARED } from "../session-runs.ts";
import { RunsCurves } from "./RunsCurves.tsx";
import { StatusBadge } from "./RunsTable.tsx";

export interface ComparedRun {
  readonly run: RunRecord;
  readonly history: RunHistory;
}

export function RunsCompare(props: { readonly ids: readonly string[] }) {
  const { app, runs } = useSession();
  const text = useText();
  const words = () => text().library.runs.compare;
  const chosen = createMemo(() =>
    [...new Set(props.ids)]
      .flatMap((id) => runs.list().find((run) => run.id === id) ?? [])
      .slice(0, MOST_COMPARED),
  );
  const [compared, setCompared] = createSignal<readonly ComparedRun[]>();
  createEffect(
    on(chosen, async (list) => {
      const read = await app.attempt(() =>
        Promise.all(list.map(async (run) => ({ run, history: await runs.history(run) }))),
      );
      if (read && chosen() === list) setCompared(read);
    }),
  );
  return (
    <Screen
      title={words().title(chosen().length)}
      lead={words().lead}
      actions={
        <LinkButton kind="primary" href={hrefOf("runs")}>
          {words().back}
        </LinkButton>
      }
    >
      <Show when={runs.isListed()} fallback={<p class="quiet">{text().library.runs.reading}</p>}>
        <Show when={chosen().length > 1} fallback={<p class="quiet">{words().gone}</p>}>
          <Show when={compared()} fallback={<p class="quiet">{words().reading}</p>}>
            {(list) => (
              <>
                <RunsCurves runs={list()} />
                <Results runs={list()} />
                <Differences runs={list().map(({ run }) => run)} />
              </>
            )}
          </Show>
        </Show>
      </Show>
    </Screen>
  );
}

/** What each run came to. */
function Results(props: { readonly runs: readonly ComparedRun[] }) {
  const text = useText();
  const words = () => text().library.runs.compare;
  const { runs } = useSession();
  const nameOf = (id: string) =>
    runs.list().find((run) => run.id === id)?.name ?? text().library.runs.details.parentGone;
  const rows = () => resultRows(props.runs, text().library.runs, nameOf);
  return (
    <section class="stack tight" aria-labelledby="runs-results">
      <h2 id="runs-results">{words().results}</h2>
      <SideBySide head={words().result} runs={props.runs.map(({ run }) => run)}>
        <tr>
          <th scope="row">{words().status}</th>
          <For each={props.runs}>
            {({ run }) => (
              <td>
                <StatusBadge status={run.status} />
              </td>
            )}
          </For>
        </tr>
        <For each={rows()}>
          {(row) => (
            <tr>
              <th scope="row">{row.name}</th>
              <For each={row.values}>{(value) => <td>{value}</td>}</For>
            </tr>
          )}
        </For>
      </SideBySide>
    </section>
  );
}

interface ResultRow {
  readonly name: string;
  readonly values: readonly string[];
}

function resultRows(
  runs: readonly ComparedRun[],
  { compare: words, details }: ReturnType<ReturnType<typeof useText>>["library"]["runs"],
  nameOf: (runId: string) => string,
): ResultRow[] {
  const results = runs.map(({ history }) => resultOf(history));
  const ofRuns = (name: string, show: (run: RunRecord) => string): ResultRow => ({
    name,
    values: runs.map(({ run }) => show(run)),
  });
  const ofResults = (name: string, show: (result: RunResult) => string): ResultRow => ({
    name,
    values: results.map(show),
  });
  return [
    ofRuns(words.model, ({ modelName }) => modelName),
    ofRuns(words.data, ({ dataName }) => dataName),
    ...(runs.some(({ run }) => run.parent)
      ? [
          ofRuns(details.parent, ({ parent }) =>
            parent ? details.parentAt(nameOf(parent.runId), parent.checkpoint) : "–",
          ),
        ]
      : []),
    ofRuns(words.step, ({ step, steps }) => `${formatCount(step)} / ${formatCount(steps)}`),
    ofResults(words.finalLoss, ({ loss }) => formatValue(loss)),
    ofResults(words.heldOut, ({ heldOutLoss }) => formatValue(heldOutLoss)),
    ofResults(words.perplexity, ({ perplexity }) => formatValue(perplexity)),
    ofResults(words.accuracy, ({ tokenAccuracy }) =>
      tokenAccuracy === null ? "–" : `${(tokenAccuracy * 100).toFixed(1)} %`,
    ),
    ofResults(words.trainedTokens, ({ tokens }) => formatCount(tokens)),
    ofResults(words.duration, ({ trainedSeconds }) =>
      trainedSeconds > 0 ? formatDuration(trainedSeconds) : "–",
    ),
    ofResults(words.skipped, ({ skipped }) => formatCount(skipped)),
  ];
}

function Differences(props: { readonly runs: readonly RunRecord[] }) {
  const text = useText();
  const words = () => text().library.runs.compare;
  const differences = createMemo(() => configDifferences(props.runs.map(({ config }) => config)));
  return (
    <section class="stack tight" aria-labelledby="runs-differences">
      <h2 id="runs-differences">{words().differences}</h2>
      <Show when={differences().length > 0} fallback={<p>{words().same}</p>}>
        <SideBySide head={words().option} runs={props.runs}>
          <For each={differences()}>
            {({ path, values }) => (
              <tr>
                <th scope="row">
                  <code>{path}</code>
                </th>
                <For each={values}>
                  {(value) => (
                    <td>
                      <code>{value}</code>
                    </td>
                  )}
                </For>
              </tr>
            )}
          </For>
        </SideBySide>
      </Show>
    </section>
  );
}

/** A table with a column for each run. */
function SideBySide(props: {
  readonly head: string;
  readonly runs: readonly RunRecord[];
  readonly children: JSX.Element;
}) {
  return (
    <div class="table-wrap">
      <table class="runs-beside">
        <thead>
          <tr>
            <th scope="col">{props.head}</th>
            <For each={props.runs}>{(run) => <th scope="col">{run.name}</th>}</For>
          </tr>
        </thead>
        <tbody>{props.children}</tbody>
      </table>
    </div>
  );
}
