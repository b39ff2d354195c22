// The presets: every value one that its option takes, sized for the model and the data, and the same
// config on the page, on its command line and in its file.
import { execFileSync } from "node:child_process";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { loadConfigText } from "../../src/cli/config-zoo.ts";
import { PRESETS, type PresetFacts, type PresetName, presetFor } from "../../src/config/presets.ts";
import { readConfig, serializeConfig } from "../../src/config/read.ts";
import { configOf, valuesOf } from "../../src/config/values.ts";
import { ALL_OPTIONS, type TrainConfig } from "../../src/config.ts";
import { commandOf } from "../../src/ui/recipe.ts";

const SEEDLING = { parameters: 1_081_600, contextTokens: 1024 };

const anyFacts: fc.Arbitrary<PresetFacts> = fc.record(
  {
    parameters: fc.integer({ min: 1000, max: 70e9 }),
    contextTokens: fc.integer({ min: 8, max: 1 << 20 }),
    rows: fc.integer({ min: 1, max: 5_000_000 }),
    tokensPerRow: fc.integer({ min: 1, max: 100_000 }),
  },
  { requiredKeys: [] },
);
const anyPreset = fc.constantFrom(...PRESETS);

function presetConfig(name: PresetName, facts: PresetFacts): TrainConfig {
  return configOf(new Map<string, unknown>(presetFor(name, facts)));
}

describe("presets", () => {
  test("each value is one that its option takes, whatever the model and the data", () => {
    fc.assert(
      fc.property(anyPreset, anyFacts, (name, facts) => {
        for (const [path, value] of presetFor(name, facts)) {
          const { option } = ALL_OPTIONS.find((placed) => placed.path === path) ?? {};
          expect({ path, value: option?.read(value) }).toEqual({ path, value });
        }
      }),
    );
  });

  test("no row passes the model's context, and no step sees more rows than there are", () => {
    fc.assert(
      fc.property(anyPreset, anyFacts, (name, facts) => {
        const { max_length, batch_size, accumulative_counts } = presetConfig(name, facts);
        expect(max_length).toBeLessThanOrEqual(facts.contextTokens ?? 2048);
        if (facts.rows === undefined) return;
        // 256 tokens are what an example of unknown length is taken to have.
        const tokens = facts.rows * (facts.tokensPerRow ?? 256);
        expect((batch_size * accumulative_counts - 1) * max_length).toBeLessThan(tokens);
      }),
    );
  });

  test("Seedling's quick run on the identity data is the demo's, which is known to learn it", () => {
    // The demo's config: 28 steps of two rows of 128 tokens at 5e-3, rank 16, clipped at 0.3.
    const demo = loadConfigText("seedling_qlora_identity_demo");
    const { max_steps: steps, ...settings } = readConfig(demo.text, demo.place);
    const quick = presetConfig("quick", { ...SEEDLING, rows: 10_001, tokensPerRow: 60 });
    expect(quick.max_steps).toBeGreaterThanOrEqual(steps);
    expect(quick.max_steps).toBeLessThan(2 * steps);
    const { max_length, batch_size, accumulative_counts, lr, max_norm, lora } = settings;
    expect(quick).toMatchObject({ max_length, batch_size, accumulative_counts, lr, max_norm });
    expect(quick.lora).toMatchObject({ r: lora.r, lora_alpha: lora.lora_alpha, lora_dropout: 0 });
  });

  test.each([
    ["balanced", 60],
    ["thorough", 150],
  ] as const)("%s sees 20 rows often enough for %d steps or more", (name, steps) => {
    const config = presetConfig(name, { parameters: 135e6, rows: 20, tokensPerRow: 90 });
    const rows = Math.ceil((20 * 90) / config.max_length);
    const perEpoch = Math.ceil(rows / (config.batch_size * config.accumulative_counts));
    expect(perEpoch * config.max_epochs).toBeGreaterThanOrEqual(steps);
  });

  test("a million rows are seen once, and no more than 200 of them are held out", () => {
    const config = presetConfig("balanced", { parameters: 1e9, rows: 1e6, tokensPerRow: 150 });
    expect(config.max_epochs).toBe(1);
    expect(config.eval_split * 1e6).toBeCloseTo(200);
  });

  test("a larger model learns more slowly", () => {
    for (const name of PRESETS) {
      const rates = [1e6, 135e6, 1.8e9].map((parameters) => presetConfig(name, { parameters }).lr);
      expect(rates).toEqual(rates.toSorted((a, b) => b - a));
      expect(new Set(rates).size).toBe(3);
    }
  });

  test("a checkpoint comes at least every 20 steps", () => {
    for (const name of PRESETS) {
      expect(presetConfig(name, {}).save_steps).toBeLessThanOrEqual(20);
    }
  });
});

describe("the command line and the file reach the page's config", () => {
  const anyText = fc.string({ unit: "grapheme" }).filter((value) => !value.includes("\0"));
  const anyWord = anyText.filter((value) => value.trim() !== "");
  /** Changes such as a person makes, the awkward ones among them. */
  const anyChanges = fc.record(
    {
      system: anyText,
      prompt_template: anyText,
      lr: fc.double({ min: 0, max: 1, noNaN: true }),
      eps: fc.double({ min: 1e-12, max: 1e-2, noNaN: true }),
      betas: fc.tuple(fc.constant(0.5), fc.double({ min: 0, max: 0.999_999, noNaN: true })),
      loss_scale: fc.oneof(fc.constant("dynamic"), fc.integer({ min: 1, max: 65_536 })),
      max_steps: fc.constantFrom(-1, 7),
      gradient_checkpointing: fc.constantFrom("auto", true, false),
      evaluation_inputs: fc.array(anyWord),
      "lora.target_modules": fc.oneof(
        fc.constant("all-linear"),
        fc.array(anyWord, { minLength: 1 }),
      ),
    },
    { requiredKeys: [] },
  );
  const anyConfig = fc
    .tuple(anyPreset, anyFacts, anyChanges, anyWord, fc.array(anyWord, { minLength: 1 }))
    .map(([name, facts, changes, model, data]) => {
      const values = new Map<string, unknown>(presetFor(name, facts));
      for (const [path, value] of Object.entries(changes)) values.set(path, value);
      return { name, config: configOf(values.set("model", model).set("data", data)) };
    });

  test("any config, by the words that a shell makes of the command", () => {
    fc.assert(
      fc.property(anyConfig, ({ name, config }) => {
        const [train, preset = "", set, ...settings] = wordsOf(commandOf(name, config));
        expect([train, set]).toEqual(["train", "--set"]);
        const { text, place } = loadConfigText(preset);
        expect(plain(readConfig(text, place, settings))).toEqual(plain(config));
      }),
    );
  });

  test("any config, by its file", () => {
    fc.assert(
      fc.property(anyConfig, ({ config }) => {
        expect(plain(readConfig(serializeConfig(config), "saved.yaml"))).toEqual(plain(config));
      }),
    );
  });

  test.each(["\n", "\r", "\r\n", "\u0085", "\u2028", "\u2029"])(
    "a config with what may end a line in a name, by its file: %j",
    (end) => {
      const named = [`${end}!`, `a${end}b`, `a${end}${end}  b${end}`];
      const values = new Map<string, unknown>(presetFor("quick", {}));
      const config = configOf(
        values.set("model", "m").set("data", ["d"]).set("lora.target_modules", named),
      );
      expect(plain(readConfig(serializeConfig(config), "saved.yaml"))).toEqual(plain(config));
    },
  );

  test("a preset without changes needs only the model and the data named", () => {
    const values = valuesOf(presetConfig("balanced", {}))
      .set("model", "m")
      .set("data", ["d.jsonl"]);
    expect(commandOf("balanced", configOf(values))).toBe(
      `hone train balanced --set \\\n  model=m \\\n  data=d.jsonl`,
    );
  });
});

/** −0 is written as 0, which is the same number. */
function plain(config: TrainConfig): unknown {
  return JSON.parse(JSON.stringify(config));
}

/** What a real shell makes of a command's words. */
function wordsOf(command: string): string[] {
  return execFileSync("/bin/sh", ["-c", `hone() { printf '%s\\0' "$@"; }; ${command}`], {
    encoding: "utf8",
  })
    .split("\0")
    .slice(0, -1);
}
