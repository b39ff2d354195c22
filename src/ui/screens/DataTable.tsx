// All rows of a data set. Only those on the screen exist; their texts come a page at a time.
import { createEffect, createMemo, createSignal, For, on, Show } from "solid-js";
import { VList, type VListHandle } from "virtua/solid";
import { formatCount } from "../../base/format.ts";
import type { StoredData, TableRow } from "../../services/api.ts";
import { Button } from "../parts/Button.tsx";
import { NumberField } from "../parts/Fields.tsx";
import { createPages } from "../data-view.ts";
import { useSession, useText } from "../session.ts";
import { Said } from "./DataMapper.tsx";

/** As many messages of a row stand in the table. */
const SHOWN_MESSAGES = 3;

/** A row of two short messages, until it is measured. */
const ROW_PIXELS = 67;

export function DataTable(props: {
  readonly data: StoredData;
  /** Where the table begins to be looked at, from 0. */
  readonly row: number;
  readonly onSee: (row: number) => void;
}) {
  const { data } = useSession();
  const text = useText();
  const words = () => text().data.table;
  const pages = createPages((start, count) => data.rows(props.data.id, start, count));
  // Made once: the list asks for it at every step.
  const indices = createMemo(() => Array.from({ length: props.data.rows }, (_, i) => i));
  const [marked, setMarked] = createSignal<number>();
  let list: VListHandle | undefined;
  const go = (row: number) => {
    setMarked(row);
    // After the list has measured itself.
    requestAnimationFrame(() => list?.scrollToIndex(row, { align: "start" }));
  };
  createEffect(
    on(
      () => props.row,
      (row) => row > 0 && go(row),
    ),
  );
  const jump = (row: number) => {
    if (row >= 1) go(Math.min(Math.floor(row), props.data.rows) - 1);
  };
  return (
    <div class="stack tight">
      <div class="data-jump">
        <NumberField
          label={words().jump}
          value={(marked() ?? 0) + 1}
          min={1}
          max={props.data.rows}
          step={1}
          onChange={jump}
        />
      </div>
      <div
        class="data-table"
        role="table"
        aria-label={words().label(props.data.name)}
        aria-rowcount={props.data.rows + 1}
      >
        <div class="data-row data-table-head" role="row" aria-rowindex={1}>
          <span role="columnheader">{words().row}</span>
          <span role="columnheader">{words().conversation}</span>
        </div>
        <VList
          ref={(handle) => (list = handle)}
          class="data-list"
          role="rowgroup"
          tabindex={0}
          aria-label={words().label(props.data.name)}
          itemSize={ROW_PIXELS}
          data={indices()}
        >
          {(index) => (
            <Row
              index={index}
              row={pages.at(index)}
              isMarked={marked() === index}
              onSee={() => props.onSee(index)}
              canSee={props.data.format !== null}
            />
          )}
        </VList>
      </div>
    </div>
  );
}

function Row(props: {
  readonly index: number;
  readonly row: TableRow | undefined;
  readonly isMarked: boolean;
  readonly canSee: boolean;
  readonly onSee: () => void;
}) {
  const text = useText();
  const words = () => text().data.table;
  const number = () => formatCount(props.index + 1);
  return (
    <div
      class="data-row"
      classList={{ "is-marked": props.isMarked }}
      role="row"
      aria-rowindex={props.index + 2}
    >
      <span role="cell" class="numeric">
        <Show when={props.canSee} fallback={number()}>
          <Button kind="subtle" aria-label={words().see(number())} onClick={() => props.onSee()}>
            {number()}
          </Button>
        </Show>
      </span>
      <div role="cell" class="data-cell">
        <Show when={props.row} fallback={<span class="quiet">{words().waiting}</span>}>
          {(row) => (
            <>
              <Said messages={row().messages.slice(0, SHOWN_MESSAGES)} />
              <Show when={row().messages.length > SHOWN_MESSAGES}>
                <p class="small quiet">
                  {words().moreMessages(formatCount(row().messages.length - SHOWN_MESSAGES))}
                </p>
              </Show>
              <For each={row().fields ?? []}>
                {([column, value]) => (
                  <p class="data-said">
                    <span class="data-role">{column}</span>
                    <span class="data-content">{value}</span>
                  </p>
                )}
              </For>
              <Show when={row().issue}>
                {(issue) => (
                  <p class="data-issue" classList={{ "is-used": row().messages.length > 0 }}>
                    <span aria-hidden="true">!</span> {issue()}
                  </p>
                )}
              </Show>
            </>
          )}
        </Show>
      </div>
    </div>
  );
}
