// How answers are drawn, and what the model is told before the conversation.
import { For, Show } from "solid-js";
import { type ChatSettings, SETTING_RANGES } from "../chat-settings.ts";
import { Button } from "../parts/Button.tsx";
import { NumberField, Slider, TextField } from "../parts/Fields.tsx";
import { useSession, useText } from "../session.ts";

const SLIDERS = ["maxNewTokens", "topP", "temperature", "topK", "repetitionPenalty"] as const;

export function TrySettings() {
  const { tryout } = useSession();
  const text = useText();
  const words = () => text().live.tryout.settings;
  return (
    <aside class="card try-settings" aria-labelledby="try-settings">
      <div class="row apart">
        <h2 id="try-settings">{words().title}</h2>
        <Button kind="subtle" onClick={() => tryout.resetSettings()}>
          {words().reset}
        </Button>
      </div>
      <Show when={tryout.info()?.hasAdapter}>
        <SettingSlider name="adapterScale" />
      </Show>
      <For each={SLIDERS}>{(name) => <SettingSlider name={name} />}</For>
      <NumberField
        label={words().names.seed.label}
        help={words().names.seed.help}
        value={tryout.settings.seed}
        {...SETTING_RANGES.seed}
        onChange={(seed) => tryout.set("seed", Math.round(seed))}
      />
      <TextField
        label={words().system}
        help={words().systemHelp}
        rows={3}
        value={tryout.system()}
        onChange={(system) => tryout.setSystem(system)}
      />
    </aside>
  );
}

function SettingSlider(props: { readonly name: keyof ChatSettings }) {
  const { tryout } = useSession();
  const text = useText();
  const words = () => text().live.tryout.settings.names[props.name];
  const range = () => SETTING_RANGES[props.name];
  const value = () => tryout.settings[props.name];
  return (
    <Slider
      label={words().label}
      help={words().help}
      value={value()}
      min={range().min}
      max={range().max}
      step={range().step}
      shown={range().step < 1 ? value().toFixed(2) : String(value())}
      onInput={(chosen) => tryout.set(props.name, chosen)}
    />
  );
}
