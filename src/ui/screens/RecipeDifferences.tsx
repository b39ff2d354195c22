// What differs from the preset, with the way back.
import { For, Show } from "solid-js";
import type { OptionPath } from "../../config/values.ts";
import { Button } from "../parts/Button.tsx";
import { useSession, useText } from "../session.ts";

export function RecipeDifferences() {
  const { recipe } = useSession();
  const text = useText();
  const words = () => text().plan.recipe.differences;
  const show = (value: unknown) => showValue(value) || words().nothing;
  // Every path of a difference is one of the table's.
  const labelOf = (path: string) => text().plan.options.words[path as OptionPath].label;
  return (
    <Show
      when={recipe.differences().length > 0}
      fallback={<p class="small quiet">{words().none}</p>}
    >
      <section class="stack tight">
        <div class="row apart">
          <h2>{words().title}</h2>
          <Button kind="subtle" onClick={() => recipe.begin(recipe.preset())}>
            {words().resetAll}
          </Button>
        </div>
        <div class="table-wrap" tabindex="0" role="group" aria-label={words().title}>
          <table class="recipe-differences">
            <thead>
              <tr>
                <th scope="col">{words().option}</th>
                <th scope="col">{words().preset}</th>
                <th scope="col">{words().now}</th>
                <th scope="col">
                  <span class="visually-hidden">{words().reset}</span>
                </th>
              </tr>
            </thead>
            <tbody>
              <For each={recipe.differences()}>
                {({ path, value, before }) => (
                  <tr>
                    <th scope="row">
                      {labelOf(path)} <code class="quiet">{path}</code>
                    </th>
                    <td>{show(before)}</td>
                    <td>{show(value)}</td>
                    <td>
                      <Button
                        kind="subtle"
                        aria-label={words().resetOne(labelOf(path))}
                        onClick={() => recipe.reset(path)}
                      >
                        {words().reset}
                      </Button>
                    </td>
                  </tr>
                )}
              </For>
            </tbody>
          </table>
        </div>
      </section>
    </Show>
  );
}

/** As it stands in a field; a text of nothing for an empty list. */
export function showValue(value: unknown): string {
  return Array.isArray(value) ? value.join(", ") : String(value);
}
