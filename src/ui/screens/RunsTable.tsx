// A page of runs: a table on a wide screen, a card for each on a narrow one. A row opens to its details.
//
// The roles stand there because a table laid out as cards is none to a screen reader any more.
import { createEffect, createSignal, createUniqueId, For, type JSX, Show } from "solid-js";
import { formatCount, formatDuration } from "../../base/format.ts";
import type { RunRecord, RunStatus } from "../../services/api.ts";
import { formatDate } from "../dates.ts";
import { formatValue } from "../parts/chart-data.ts";
import { useSession, useText } from "../session.ts";
import { MOST_COMPARED } from "../session-runs.ts";
import { RunsDetails } from "./RunsDetails.tsx";

export function RunsTable(props: {
  readonly runs: readonly RunRecord[];
  readonly onFork: (run: RunRecord) => void;
  readonly onDelete: (run: RunRecord) => void;
}) {
  const text = useText();
  const words = () => text().library.runs.table;
  const [openId, setOpenId] = createSignal<string>();
  const heads = () => [
    words().name,
    words().status,
    words().steps,
    words().loss,
    words().heldOut,
    words().duration,
    words().date,
  ];
  return (
    <div class="table-wrap runs-wrap">
      <table role="table" class="runs-table" aria-label={words().label}>
        <thead role="rowgroup">
          <tr role="row">
            <th role="columnheader" scope="col">
              <span class="visually-hidden">{words().compare}</span>
            </th>
            <For each={heads()}>
              {(head) => (
                <th role="columnheader" scope="col">
                  {head}
                </th>
              )}
            </For>
          </tr>
        </thead>
        <tbody role="rowgroup">
          <For each={props.runs}>
            {(run) => (
              <Row
                run={run}
                isOpen={openId() === run.id}
                onToggle={() => setOpenId((id) => (id === run.id ? undefined : run.id))}
                details={
                  <RunsDetails
                    run={run}
                    onFork={() => props.onFork(run)}
                    onDelete={() => props.onDelete(run)}
                  />
                }
              />
            )}
          </For>
        </tbody>
      </table>
    </div>
  );
}

function Row(props: {
  readonly run: RunRecord;
  readonly isOpen: boolean;
  readonly onToggle: () => void;
  readonly details: JSX.Element;
}) {
  const { runs } = useSession();
  const text = useText();
  const words = () => text().library.runs.table;
  const detailsId = createUniqueId();
  const isCompared = () => runs.compared().includes(props.run.id);
  createEffect(() => runs.wantResult(props.run));
  return (
    <>
      <tr role="row" class="runs-row" classList={{ "is-open": props.isOpen }}>
        <td role="cell" class="runs-compare">
          <label>
            <span aria-hidden="true">{words().compare}</span>
            <input
              type="checkbox"
              aria-label={words().compareName(props.run.name)}
              checked={isCompared()}
              disabled={!isCompared() && runs.compared().length >= MOST_COMPARED}
              onChange={(event) => runs.setCompared(props.run.id, event.currentTarget.checked)}
            />
          </label>
        </td>
        <th role="rowheader" scope="row" class="runs-name">
          <button
            type="button"
            class="runs-open"
            aria-expanded={props.isOpen}
            aria-controls={detailsId}
            onClick={() => props.onToggle()}
          >
            {props.run.name}
          </button>
          <span>{words().madeFrom(props.run.modelName, props.run.dataName)}</span>
        </th>
        <Numbers run={props.run} />
      </tr>
      <Show when={props.isOpen}>
        <tr role="row" class="runs-more">
          <td role="cell" colspan="8" id={detailsId}>
            {props.details}
          </td>
        </tr>
      </Show>
    </>
  );
}

function Numbers(props: { readonly run: RunRecord }) {
  const { app, runs } = useSession();
  const text = useText();
  const words = () => text().library.runs.table;
  const result = () => runs.resultOf(props.run.id);
  const duration = () => {
    const seconds = result()?.trainedSeconds ?? 0;
    return seconds > 0 ? formatDuration(seconds) : "–";
  };
  return (
    <>
      <td role="cell" data-label={words().status}>
        <StatusBadge status={props.run.status} />
      </td>
      <td role="cell" data-label={words().steps}>
        {words().ofSteps(formatCount(props.run.step), formatCount(props.run.steps))}
      </td>
      <td role="cell" data-label={words().loss}>
        {formatValue(props.run.finalLoss)}
      </td>
      <td role="cell" data-label={words().heldOut}>
        {formatValue(result()?.heldOutLoss ?? null)}
      </td>
      <td role="cell" data-label={words().duration}>
        {duration()}
      </td>
      <td role="cell" data-label={words().date} class="runs-date">
        {formatDate(props.run.createdAt, app.language())}
      </td>
    </>
  );
}

const STATUSES = {
  new: { kind: undefined, mark: "○" },
  running: { kind: "accent", mark: "▸" },
  paused: { kind: "accent", mark: "‖" },
  stopped: { kind: undefined, mark: "■" },
  interrupted: { kind: "warn", mark: "!" },
  finished: { kind: "good", mark: "✓" },
  failed: { kind: "bad", mark: "✕" },
} as const;

/** A run's status: a mark, a word and a color. */
export function StatusBadge(props: { readonly status: RunStatus }) {
  const text = useText();
  const look = () => STATUSES[props.status];
  return (
    <span class={`badge ${look().kind ?? ""}`}>
      <span aria-hidden="true">{look().mark}</span>
      {text().library.runs.status[props.status]}
    </span>
  );
}
