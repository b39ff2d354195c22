// Every option of the table as a form, in its groups. The table says what each takes; nothing is listed here.
import { createMemo, For, Show } from "solid-js";
import type { Group } from "../../config/option.ts";
import { type ConfigValues, isSameValue, type OptionPath, valuesOf } from "../../config/values.ts";
import { ALL_OPTIONS, type PlacedOption } from "../../config.ts";
import { Badge } from "../parts/Bits.tsx";
import { Button } from "../parts/Button.tsx";
import { SET_BY_THE_PAGE } from "../recipe.ts";
import { useSession, useText } from "../session.ts";
import { showValue } from "./RecipeDifferences.tsx";
import { RecipeField } from "./RecipeField.tsx";

const GROUPS: readonly Group[] = ["model", "data", "training", "lora", "memory", "output"];

// It has an editor of its own on this screen.
const QUESTIONS = "evaluation_inputs";

export function RecipeOptions() {
  const { recipe } = useSession();
  const text = useText();
  const words = () => text().plan.recipe.advanced;
  const values = createMemo(() => valuesOf(recipe.config()));
  const preset = createMemo(() => recipe.valuesOfPreset(recipe.preset()));
  const changed = () => recipe.differences().filter(({ path }) => path !== QUESTIONS).length;
  return (
    <details class="card">
      <summary>
        {words().title} <span class="small quiet">{words().hint(changed())}</span>
      </summary>
      <div class="stack">
        <For each={GROUPS}>
          {(group) => (
            <section class="stack">
              <h2>{text().plan.options.groups[group]}</h2>
              <div class="recipe-group">
                <For each={optionsOf(group)}>
                  {(placed) => <OptionOnForm placed={placed} values={values()} preset={preset()} />}
                </For>
              </div>
            </section>
          )}
        </For>
      </div>
    </details>
  );
}

function optionsOf(wanted: Group): readonly PlacedOption[] {
  return ALL_OPTIONS.filter(({ path, option }) => option.group === wanted && path !== QUESTIONS);
}

function OptionOnForm(props: {
  readonly placed: PlacedOption;
  readonly values: ConfigValues;
  readonly preset: ConfigValues;
}) {
  const { recipe } = useSession();
  const text = useText();
  const words = () => text().plan.recipe.advanced;
  const path = () => props.placed.path;
  const own = () => text().plan.options.words[path() as OptionPath];
  const isSet = () => SET_BY_THE_PAGE.has(path());
  const isChanged = () =>
    !isSet() && !isSameValue(props.values.get(path()), props.preset.get(path()));
  return (
    <div class="recipe-option" classList={{ "is-changed": isChanged() }}>
      <Show
        when={!isSet()}
        fallback={
          <div class="field">
            <p class="label">{own().label}</p>
            <p class="small">
              {words().setElsewhere[path() as keyof ReturnType<typeof words>["setElsewhere"]]}
            </p>
            <p class="help">{own().help}</p>
          </div>
        }
      >
        <RecipeField placed={props.placed} value={props.values.get(path())} />
      </Show>
      <div class="row small">
        <code class="quiet">{path()}</code>
        <Show when={isChanged() || recipe.problems().has(path())}>
          <Badge kind="accent">{words().changed}</Badge>
          <span class="quiet">{words().presetIs(showValue(props.preset.get(path())))}</span>
          <Button
            kind="subtle"
            aria-label={text().plan.recipe.differences.resetOne(own().label)}
            onClick={() => recipe.reset(path())}
          >
            {text().plan.recipe.differences.reset}
          </Button>
        </Show>
      </div>
    </div>
  );
}
