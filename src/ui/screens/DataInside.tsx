// A look into one data set: how it was read, and then as the model sees it, row by row, or what is wrong.
import { createSignal, createUniqueId, Match, Show, Switch } from "solid-js";
import { formatBytes, formatCount } from "../../base/format.ts";
import type { StoredData } from "../../services/api.ts";
import { Fact } from "../parts/Bits.tsx";
import { Segments } from "../parts/Fields.tsx";
import { useText } from "../session.ts";
import { DataExampleView } from "./DataExample.tsx";
import { DataMapper } from "./DataMapper.tsx";
import { DataProblems } from "./DataProblems.tsx";
import { DataTable } from "./DataTable.tsx";

type View = "example" | "table" | "problems";

export function DataInside(props: { readonly data: StoredData }) {
  const text = useText();
  const words = () => text().data.shown;
  const titleId = createUniqueId();
  const [view, setView] = createSignal<View>(props.data.format === null ? "table" : "example");
  /** Counted from 0. */
  const [row, setRow] = createSignal(0);
  const show = (wanted: View, at: number) => {
    setRow(at);
    setView(wanted);
  };
  const views = (): { value: View; label: string }[] => [
    ...(props.data.format === null ? [] : [{ value: "example" as const, label: words().example }]),
    { value: "table", label: words().table },
    { value: "problems", label: words().problems(formatCount(props.data.issueCount)) },
  ];
  return (
    <section class="stack" aria-labelledby={titleId}>
      <h2 id={titleId} class="data-name">
        {props.data.name}
      </h2>
      <Facts data={props.data} />
      <Show when={props.data.format === null || props.data.mapping !== null}>
        <DataMapper data={props.data} />
      </Show>
      <div>
        <Segments label={words().views} value={view()} options={views()} onChange={setView} />
      </div>
      <Switch>
        <Match when={view() === "example"}>
          <DataExampleView data={props.data} row={row()} onRow={setRow} />
        </Match>
        <Match when={view() === "table"}>
          <DataTable data={props.data} row={row()} onSee={(at) => show("example", at)} />
        </Match>
        <Match when={view() === "problems"}>
          <DataProblems data={props.data} onRow={(at) => show("table", at)} />
        </Match>
      </Switch>
    </section>
  );
}

function Facts(props: { readonly data: StoredData }) {
  const text = useText();
  const words = () => text().data.shown;
  return (
    <div class="stack tight">
      <p class="small quiet data-why">
        {props.data.format === null
          ? words().whyNone(props.data.reason)
          : words().why(props.data.format, props.data.reason)}
      </p>
      <dl class="facts">
        <Fact name={words().rows}>{formatCount(props.data.rows)}</Fact>
        <Fact name={words().leftOut}>{formatCount(props.data.broken)}</Fact>
        <Fact name={words().duplicates}>{formatCount(props.data.duplicates)}</Fact>
        <Fact name={words().empty}>{formatCount(props.data.empty)}</Fact>
        <Fact name={words().size}>{formatBytes(props.data.bytes)}</Fact>
      </dl>
    </div>
  );
}
