// Three recipes for people who have none: a quick look, a balanced run, a thorough one.
//
// A preset is settings over the table's defaults. It looks at how large the model and the data are: what
// teaches a model of a million parameters would ruin one of a billion, and few rows must be seen often.
import { ALL_OPTIONS } from "../config.ts";
import type { OptionPath } from "./values.ts";

export const PRESETS = ["quick", "balanced", "thorough"] as const;
export type PresetName = (typeof PRESETS)[number];

/** What is known of the model and the data. Without any, a model of a billion and rows of unknown number. */
export interface PresetFacts {
  readonly parameters?: number | undefined;
  /** The longest text that the model was made for. */
  readonly contextTokens?: number | undefined;
  /** Examples in the data. */
  readonly rows?: number | undefined;
  /** Tokens of an example, on average. */
  readonly tokensPerRow?: number | undefined;
}

export type PresetValues = ReadonlyMap<OptionPath, number>;

/** A preset's settings for such a model and such data. */
export function presetFor(name: PresetName, facts: PresetFacts = {}): PresetValues {
  const size = sizeOf(facts.parameters ?? TYPICAL.parameters);
  const rank = RANKS[name][size];
  const rows = shapeOf(name, size, facts);
  const stepsPerEpoch = rows.packed === undefined ? undefined : Math.ceil(rows.packed / rows.step);
  const epochs = EPOCHS[name](stepsPerEpoch);
  const steps = name === "quick" ? QUICK_STEPS[size] : epochs * (stepsPerEpoch ?? 100);
  const lengths: readonly (readonly [OptionPath, number])[] =
    name === "quick" ? [["max_steps", steps]] : [["max_epochs", epochs]];
  return new Map<OptionPath, number>([
    ["max_length", rows.length],
    ["batch_size", rows.batch],
    ["accumulative_counts", rows.step / rows.batch],
    ...lengths,
    ["lr", RATES[name][size]],
    ["warmup_ratio", name === "quick" ? 0.1 : 0.05],
    ["max_norm", 0.3], // the QLoRA paper's; at 1 some short runs go astray
    ["lora.r", rank],
    ["lora.lora_alpha", 2 * rank],
    ["lora.lora_dropout", name === "quick" ? 0 : 0.05],
    ["eval_split", name === "quick" ? 0 : heldOutShare(facts.rows)],
    // A tab may be closed at any moment: little is lost when it is.
    ["save_steps", name === "quick" ? 10 : 20],
    ["logging_steps", name === "quick" ? 5 : 10],
    ["evaluation_freq", Math.min(100, Math.max(10, Math.round(steps / 50) * 10))],
  ]);
}

/** The preset as a config file, for a model and data that are named later. */
export function presetText(name: PresetName, about: string): string {
  let section = "";
  const lines = [...presetFor(name)]
    .toSorted(([one], [other]) => placeOf(one) - placeOf(other))
    .flatMap(([path, value]) => {
      const [first = "", key] = path.split(".", 2);
      if (key === undefined) return [`${first}: ${value}`];
      const heading = section === first ? [] : [`${first}:`];
      section = first;
      return [...heading, `  ${key}: ${value}`];
    });
  return `# ${about}
# For a model of a billion parameters. The page fits it to the model and the data at hand.
model: # a folder with the model's files from Hugging Face, or seedling
data: # a file with rows of conversations

${lines.join("\n")}
`;
}

type Size = "tiny" | "small" | "large";

const TYPICAL = { parameters: 1e9, tokensPerRow: 256 };

function sizeOf(parameters: number): Size {
  if (parameters < 20e6) return "tiny";
  return parameters < 700e6 ? "small" : "large";
}

type BySize = Readonly<Record<Size, number>>;

// The smaller the model, the higher: Seedling learns an answer by heart in 30 steps at 5e-3.
const RATES: Readonly<Record<PresetName, BySize>> = {
  quick: { tiny: 5e-3, small: 1e-3, large: 4e-4 },
  balanced: { tiny: 3e-3, small: 5e-4, large: 2e-4 },
  thorough: { tiny: 2e-3, small: 3e-4, large: 1e-4 },
};

const RANKS: Readonly<Record<PresetName, BySize>> = {
  quick: { tiny: 16, small: 8, large: 8 },
  balanced: { tiny: 16, small: 16, large: 16 },
  thorough: { tiny: 32, small: 32, large: 32 },
};

const QUICK_STEPS: BySize = { tiny: 30, small: 40, large: 40 };

/** Tokens that an optimizer step sees, about. */
const STEP_TOKENS: Readonly<Record<PresetName, BySize>> = {
  quick: { tiny: 256, small: 1024, large: 1024 },
  balanced: { tiny: 512, small: 4096, large: 4096 },
  thorough: { tiny: 1024, small: 8192, large: 8192 },
};

/** Shortest and longest row. */
const ROW_TOKENS: Readonly<Record<PresetName, readonly [number, number]>> = {
  quick: [128, 512],
  balanced: [128, 1024],
  thorough: [256, 2048],
};

/** Few rows are seen often, many of them once; no fewer steps in all than anything is learned in. */
const EPOCHS: Readonly<Record<PresetName, (stepsPerEpoch: number | undefined) => number>> = {
  quick: () => 1,
  balanced: (steps = 100) => Math.max(byLength(steps, 1, 3), Math.ceil(60 / steps)),
  thorough: (steps = 100) => Math.max(byLength(steps, 3, 5), Math.ceil(150 / steps)),
};

function byLength(stepsPerEpoch: number, fewest: number, most: number): number {
  if (stepsPerEpoch >= 300) return fewest;
  return stepsPerEpoch >= 100 ? Math.round((fewest + most) / 2) : most;
}

interface RowShape {
  /** Tokens of a training row. */
  readonly length: number;
  readonly batch: number;
  /** Training rows of an optimizer step; `batch` divides it. */
  readonly step: number;
  /** Training rows that the examples make, or undefined where their number is not known. */
  readonly packed: number | undefined;
}

function shapeOf(name: PresetName, size: Size, facts: PresetFacts): RowShape {
  const { contextTokens = Number.POSITIVE_INFINITY, rows } = facts;
  const tokensPerRow = facts.tokensPerRow ?? TYPICAL.tokensPerRow;
  const [shortest, longest] = ROW_TOKENS[name];
  // Twice the average leaves room for the long ones; full rows waste nothing, since examples are packed.
  const wanted = 2 ** Math.ceil(Math.log2(Math.max(1, 2 * tokensPerRow)));
  const length = Math.max(8, Math.min(contextTokens, longest, Math.max(shortest, wanted)));
  const packed =
    rows === undefined ? undefined : Math.max(1, Math.ceil((rows * tokensPerRow) / length));
  // Little data makes smaller steps rather than many epochs of one step each.
  const most = packed === undefined ? Number.POSITIVE_INFINITY : Math.ceil(packed / 8);
  const step = Math.max(1, Math.min(most, Math.round(STEP_TOKENS[name][size] / length)));
  // A larger model fills the GPU with one row, and more would only take memory.
  const batch = size === "tiny" ? greatestDivisor(step, 4) : 1;
  return { length, batch, step, packed };
}

function greatestDivisor(count: number, most: number): number {
  for (let divisor = most; divisor > 1; divisor--) if (count % divisor === 0) return divisor;
  return 1;
}

/** A twentieth, of at most 200 rows; none of so few that training would miss them. */
function heldOutShare(rows: number | undefined): number {
  if (rows === undefined || rows < 100) return 0;
  return Number(Math.min(0.05, 200 / rows).toPrecision(1));
}

function placeOf(path: string): number {
  return ALL_OPTIONS.findIndex((placed) => placed.path === path);
}

/** Every path that some preset sets: choosing one sets all of them anew. */
export const PRESET_PATHS: ReadonlySet<string> = new Set(
  PRESETS.flatMap((name) => [...presetFor(name).keys()]),
);
