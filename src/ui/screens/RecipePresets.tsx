// Three recipes in words, with the numbers that they come to for this model and data.
import { For } from "solid-js";
import { formatCount } from "../../base/format.ts";
import { type PresetName, PRESETS } from "../../config/presets.ts";
import { configOf } from "../../config/values.ts";
import { Badge } from "../parts/Bits.tsx";
import { useSession, useText } from "../session.ts";

export function RecipePresets() {
  const text = useText();
  return (
    <fieldset class="recipe-presets">
      <legend class="visually-hidden">{text().plan.recipe.presets.title}</legend>
      <For each={PRESETS}>{(name) => <PresetCard name={name} />}</For>
    </fieldset>
  );
}

function PresetCard(props: { readonly name: PresetName }) {
  const { recipe } = useSession();
  const text = useText();
  const words = () => text().plan.recipe.presets;
  const isChosen = () => recipe.preset() === props.name;
  const numbers = () => {
    const config = configOf(recipe.valuesOfPreset(props.name));
    return [
      config.max_steps > 0
        ? words().steps(formatCount(config.max_steps))
        : words().epochs(config.max_epochs),
      words().tokens(formatCount(config.max_length)),
      words().rank(config.lora.r),
      words().rate(String(config.lr)),
    ];
  };
  return (
    <label class="card" classList={{ "is-chosen": isChosen() }}>
      <span class="row apart">
        <span class="row">
          <input
            type="radio"
            name="preset"
            value={props.name}
            checked={isChosen()}
            onChange={() => recipe.choosePreset(props.name)}
          />
          <strong>{words()[props.name].name}</strong>
        </span>
        {isChosen() && <Badge kind="accent">{words().chosen}</Badge>}
      </span>
      <span>{words()[props.name].purpose}</span>
      <span class="small quiet">{words()[props.name].changes}</span>
      <span class="small numeric">{numbers().join(" · ")}</span>
    </label>
  );
}
