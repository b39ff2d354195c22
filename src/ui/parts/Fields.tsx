// Inputs with their label, help and problem tied to them. Values are strings or numbers; the owner checks them.
import { createUniqueId, For, type JSX, Show } from "solid-js";

interface Described {
  readonly label: string;
  readonly help?: string | undefined;
  readonly problem?: string | undefined;
}

/** Label above, help and problem below, around one control that gets its ids. */
function Field(
  props: Described & {
    readonly children: (ids: {
      readonly id: string;
      readonly "aria-describedby": string;
      readonly "aria-invalid": boolean;
    }) => JSX.Element;
  },
) {
  const id = createUniqueId();
  return (
    <div class="field">
      <label for={id}>{props.label}</label>
      {props.children({
        id,
        "aria-describedby": `${id}-help`,
        get "aria-invalid"() {
          return props.problem !== undefined;
        },
      })}
      <div id={`${id}-help`}>
        <Show when={props.problem}>
          <p class="problem">{props.problem}</p>
        </Show>
        <Show when={props.help}>
          <p class="help">{props.help}</p>
        </Show>
      </div>
    </div>
  );
}

export function TextField(
  props: Described & {
    readonly value: string;
    readonly onChange: (value: string) => void;
    /** Called with every letter; `onChange` when the field is left. */
    readonly onInput?: (value: string) => void;
    readonly placeholder?: string;
    /** More than one line. */
    readonly rows?: number;
  },
) {
  return (
    <Field label={props.label} help={props.help} problem={props.problem}>
      {(ids) => (
        <Show
          when={props.rows}
          fallback={
            <input
              {...ids}
              type="text"
              value={props.value}
              placeholder={props.placeholder}
              onInput={(event) => props.onInput?.(event.currentTarget.value)}
              onChange={(event) => props.onChange(event.currentTarget.value)}
            />
          }
        >
          <textarea
            {...ids}
            rows={props.rows}
            value={props.value}
            placeholder={props.placeholder}
            onInput={(event) => props.onInput?.(event.currentTarget.value)}
            onChange={(event) => props.onChange(event.currentTarget.value)}
          />
        </Show>
      )}
    </Field>
  );
}

/** Hands on NaN for what is no number. */
export function NumberField(
  props: Described & {
    readonly value: number;
    readonly onChange: (value: number) => void;
    readonly min?: number;
    readonly max?: number;
    readonly step?: number | "any";
  },
) {
  return (
    <Field label={props.label} help={props.help} problem={props.problem}>
      {(ids) => (
        <input
          {...ids}
          type="number"
          inputmode="decimal"
          value={props.value}
          min={props.min}
          max={props.max}
          step={props.step ?? "any"}
          onChange={(event) => props.onChange(event.currentTarget.valueAsNumber)}
        />
      )}
    </Field>
  );
}

export function SelectField<T extends string>(
  props: Described & {
    readonly value: T;
    readonly options: readonly { readonly value: T; readonly label: string }[];
    readonly onChange: (value: T) => void;
  },
) {
  return (
    <Field label={props.label} help={props.help} problem={props.problem}>
      {(ids) => (
        <select
          {...ids}
          onChange={(event) => {
            const chosen = props.options[event.currentTarget.selectedIndex];
            if (chosen) props.onChange(chosen.value);
          }}
        >
          <For each={props.options}>
            {(option) => (
              <option value={option.value} selected={option.value === props.value}>
                {option.label}
              </option>
            )}
          </For>
        </select>
      )}
    </Field>
  );
}

export function CheckField(
  props: Described & {
    readonly isChecked: boolean;
    readonly onChange: (isChecked: boolean) => void;
  },
) {
  const id = createUniqueId();
  return (
    <div class="field">
      <div class="check">
        <input
          id={id}
          type="checkbox"
          checked={props.isChecked}
          aria-describedby={`${id}-help`}
          onChange={(event) => props.onChange(event.currentTarget.checked)}
        />
        <label for={id}>{props.label}</label>
      </div>
      <div id={`${id}-help`}>
        <Show when={props.help}>
          <p class="help">{props.help}</p>
        </Show>
      </div>
    </div>
  );
}

/** A range with its value in words beside the label. */
export function Slider(
  props: Described & {
    readonly value: number;
    readonly min: number;
    readonly max: number;
    readonly step: number;
    /** The value as people read it. */
    readonly shown: string;
    readonly onInput: (value: number) => void;
  },
) {
  const id = createUniqueId();
  return (
    <div class="field">
      <div class="row apart">
        <label for={id}>{props.label}</label>
        <output class="numeric" for={id}>
          {props.shown}
        </output>
      </div>
      <input
        id={id}
        type="range"
        value={props.value}
        min={props.min}
        max={props.max}
        step={props.step}
        aria-valuetext={props.shown}
        aria-describedby={`${id}-help`}
        onInput={(event) => props.onInput(event.currentTarget.valueAsNumber)}
      />
      <div id={`${id}-help`}>
        <Show when={props.help}>
          <p class="help">{props.help}</p>
        </Show>
      </div>
    </div>
  );
}

/** A few choices side by side. */
export function Segments<T extends string>(props: {
  readonly label: string;
  readonly value: T;
  readonly options: readonly { readonly value: T; readonly label: string }[];
  readonly onChange: (value: T) => void;
}) {
  const name = createUniqueId();
  return (
    <fieldset class="segments">
      <legend class="visually-hidden">{props.label}</legend>
      <For each={props.options}>
        {(option) => (
          <label>
            <input
              type="radio"
              name={name}
              value={option.value}
              checked={option.value === props.value}
              onChange={() => props.onChange(option.value)}
            />
            {option.label}
          </label>
        )}
      </For>
    </fieldset>
  );
}
