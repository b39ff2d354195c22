// How answers are drawn: the sliders of the Try screen. Kept over visits.
import { createStore } from "solid-js/store";
import { readSetting, writeSetting } from "./settings.ts";

export interface ChatSettings {
  /** Tokens of one answer. */
  readonly maxNewTokens: number;
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  readonly repetitionPenalty: number;
  readonly seed: number;
  /** 0 is the base, 1 the adapter as trained. */
  readonly adapterScale: number;
}

type Name = keyof ChatSettings;

export const SETTING_RANGES: Readonly<
  Record<Name, { readonly min: number; readonly max: number; readonly step: number }>
> = {
  maxNewTokens: { min: 8, max: 2048, step: 8 },
  temperature: { min: 0, max: 2, step: 0.01 },
  topP: { min: 0, max: 1, step: 0.01 },
  topK: { min: 0, max: 200, step: 1 },
  repetitionPenalty: { min: 1, max: 2, step: 0.01 },
  seed: { min: 0, max: 2 ** 32 - 1, step: 1 },
  adapterScale: { min: 0, max: 2, step: 0.05 },
};

/** The tutorial's web demo, and what its library takes where it sets nothing. */
const DEFAULT_SETTINGS: ChatSettings = {
  maxNewTokens: 2048,
  temperature: 0.1,
  topP: 0.75,
  topK: 40,
  repetitionPenalty: 1,
  seed: 0,
  adapterScale: 1,
};

export function createChatSettings() {
  const [settings, setSettings] = createStore<ChatSettings>(readSetting("chat", readChatSettings));
  return {
    settings,
    set(name: Name, value: number) {
      if (!isInside(name, value)) return;
      setSettings({ [name]: value });
      writeSetting("chat", settings);
    },
    reset() {
      setSettings(DEFAULT_SETTINGS);
      writeSetting("chat", DEFAULT_SETTINGS);
    },
  };
}

function readChatSettings(value: unknown): ChatSettings {
  const kept = (typeof value === "object" && value !== null ? value : {}) as Partial<
    Record<Name, unknown>
  >;
  const names = Object.keys(DEFAULT_SETTINGS) as Name[];
  const read = names.map((name) => {
    const number = kept[name];
    return [
      name,
      typeof number === "number" && isInside(name, number) ? number : DEFAULT_SETTINGS[name],
    ];
  });
  return Object.fromEntries(read) as ChatSettings;
}

function isInside(name: Name, value: number): boolean {
  const { min, max } = SETTING_RANGES[name];
  return value >= min && value <= max;
}
