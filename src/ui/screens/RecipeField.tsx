// One option as the control that its field asks for. What is typed goes to the option's own `read`.
import { Match, Switch } from "solid-js";
import type { Field } from "../../config/option.ts";
import type { OptionPath } from "../../config/values.ts";
import type { PlacedOption } from "../../config.ts";
import { CheckField, NumberField, SelectField, TextField } from "../parts/Fields.tsx";
import { useSession, useText } from "../session.ts";
import { showValue } from "./RecipeDifferences.tsx";

export function RecipeField(props: { readonly placed: PlacedOption; readonly value: unknown }) {
  const { recipe } = useSession();
  const text = useText();
  const words = () => text().plan.recipe.advanced;
  const option = () => props.placed.option;
  const field = () => option().field;
  const isRefused = () => recipe.problems().has(props.placed.path);
  /** What was typed last, also where it was refused. */
  const value = () => (isRefused() ? recipe.problems().get(props.placed.path) : props.value);
  const set = (typed: unknown) => recipe.set(props.placed.path, typed);
  const label = () => text().plan.options.words[props.placed.path as OptionPath].label;
  const takes = () => text().plan.options.takes(option());
  const help = () => {
    const { unit } = option();
    const own = text().plan.options.words[props.placed.path as OptionPath].help;
    return [
      own,
      ...(unit === undefined ? [] : [words().unit(text().plan.options.unit(unit))]),
      ...(field().kind === "number" ? [words().range(takes())] : []),
      ...(field().kind === "texts" ? [words().listHelp] : []),
      ...(field().kind === "pair" ? [words().pairHelp] : []),
    ].join(" · ");
  };
  const problem = () => (isRefused() ? words().takes(takes()) : undefined);
  return (
    <Switch
      fallback={
        <TextField
          label={label()}
          help={help()}
          problem={problem()}
          value={showValue(value())}
          {...(props.placed.path === "system" ? { rows: 3 } : {})}
          onChange={(typed) => set(readTyped(typed, field()))}
        />
      }
    >
      <Match when={plainNumber(field())}>
        {(range) => (
          <NumberField
            label={label()}
            help={help()}
            problem={problem()}
            value={Number(value())}
            min={range().min}
            max={range().max}
            onChange={set}
          />
        )}
      </Match>
      <Match when={choices(field())}>
        {(options) => (
          <SelectField
            label={label()}
            help={help()}
            problem={problem()}
            value={String(value())}
            options={options().map((word) => ({
              value: word,
              label: word === "true" ? words().on : word === "false" ? words().off : word,
            }))}
            onChange={(word) => set(word === "true" ? true : word === "false" ? false : word)}
          />
        )}
      </Match>
      <Match when={field().kind === "flag"}>
        <CheckField label={label()} help={help()} isChecked={value() === true} onChange={set} />
      </Match>
    </Switch>
  );
}

/** The range of a field that takes numbers only; -1 for no limit is one. */
function plainNumber(field: Field): { readonly min: number; readonly max: number } | undefined {
  if (field.kind !== "number") return undefined;
  const numbers = field.words.filter((word) => typeof word === "number");
  if (numbers.length < field.words.length) return undefined;
  return { min: Math.min(field.min, ...numbers), max: field.max };
}

/** The words of a field that is one of a few. */
function choices(field: Field): readonly string[] | undefined {
  if (field.kind === "choice") return field.words;
  return field.kind === "flag" && field.words.length > 0
    ? [...field.words, "true", "false"]
    : undefined;
}

/** Text as the value that its field is about; the option says whether it takes it. */
function readTyped(typed: string, field: Field): unknown {
  if (field.kind === "text") return typed;
  const text = typed.trim();
  if (field.kind === "number")
    return text === "" || Number.isNaN(Number(text)) ? text : Number(text);
  const parts = text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
  if (field.kind === "pair") return parts.map(Number);
  const [only] = parts;
  const isWord = field.kind === "texts" && parts.length === 1 && field.words.includes(only ?? "");
  return isWord ? only : parts;
}
