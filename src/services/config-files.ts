// Configs that the page cannot read by itself: XTuner's, and the ready-made ones. Their code is loaded when it is
// asked for, in a worker: a grammar of Python is not for the first visit.
import type { ConfigChoice, ReadConfig } from "./api.ts";

/** The most that a search shows. */
const MOST_FOUND = 50;

export async function readXtuner(text: string, place: string): Promise<ReadConfig> {
  const { readXtunerConfig } = await import("../xtuner/read-xtuner-config.ts");
  return readXtunerConfig(text, place);
}

export async function findReadyConfigs(pattern: string): Promise<readonly ConfigChoice[]> {
  const { zooEntries } = await import("../xtuner/zoo.ts");
  // Words in any order: "qwen3 0.6b sql" finds qwen3_0_6b_qlora_sql_e3.
  const words = pattern.toLowerCase().split(/\s+/);
  return zooEntries()
    .filter(({ name, about }) => {
      const all = `${name} ${about}`.toLowerCase();
      return words.every((word) => all.includes(word));
    })
    .slice(0, MOST_FOUND);
}

export async function readReadyConfig(name: string): Promise<ReadConfig> {
  const [{ zooText }, { readConfig }] = await Promise.all([
    import("../xtuner/zoo.ts"),
    import("../config/read.ts"),
  ]);
  return { config: readConfig(zooText(name) ?? "", name), notes: [] };
}
