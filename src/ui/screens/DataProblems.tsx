// What is wrong with which row; each leads to its row in the table.
import { createSignal, For, onMount, Show } from "solid-js";
import { formatCount } from "../../base/format.ts";
import type { DataIssue, StoredData } from "../../services/api.ts";
import { Badge } from "../parts/Bits.tsx";
import { Button } from "../parts/Button.tsx";
import { useSession, useText } from "../session.ts";

const PAGE = 50;

export function DataProblems(props: {
  readonly data: StoredData;
  /** Counted from 0. */
  readonly onRow: (row: number) => void;
}) {
  const { app, data } = useSession();
  const text = useText();
  const words = () => text().data.problems;
  const [issues, setIssues] = createSignal<readonly DataIssue[]>([]);
  const more = async () => {
    const next = await app.attempt(() => data.issues(props.data.id, issues().length, PAGE));
    if (next) setIssues([...issues(), ...next]);
  };
  onMount(() => void more());
  const saying = (issue: DataIssue) => {
    if (issue.kind === "duplicate" && issue.duplicateOf !== undefined) {
      return words().duplicateOf(formatCount(issue.duplicateOf));
    }
    return issue.kind === "empty" ? words().isEmpty : issue.message;
  };
  return (
    <Show when={props.data.issueCount > 0} fallback={<p class="quiet">{words().none}</p>}>
      <div class="stack tight">
        <p class="quiet">{words().explain}</p>
        <ul class="data-problems">
          <For each={issues()}>
            {(issue) => (
              <li class="row">
                <Badge kind={issue.kind === "broken" || issue.kind === "format" ? "bad" : "warn"}>
                  {words().kinds[issue.kind]}
                </Badge>
                <Button
                  kind="subtle"
                  aria-label={words().show(formatCount(issue.row))}
                  onClick={() => props.onRow(issue.row - 1)}
                >
                  {words().place(formatCount(issue.row), formatCount(issue.line))}
                </Button>
                <span class="data-problem">{saying(issue)}</span>
              </li>
            )}
          </For>
        </ul>
        <div class="row">
          <Show when={issues().length < props.data.issueCount}>
            <Button onClick={() => void more()}>{words().more}</Button>
          </Show>
          <span class="small quiet">
            {words().counted(formatCount(issues().length), formatCount(props.data.issueCount))}
          </span>
        </div>
      </div>
    </Show>
  );
}
