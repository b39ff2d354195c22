// What an adapter's own files say of its base: a repo of the hub at a revision, or the config's words.
import { expect, test } from "vitest";
import { parse } from "yaml";
import { parseConfig } from "../../../src/config/read.ts";
import type { BaseModel } from "../../../src/engine.ts";
import { adapterCompanions } from "../../../src/engine/exports/adapter-companions.ts";
import { adapterOf } from "../../../src/engine/runs/run-parts.ts";
import { parseArchitecture } from "../../../src/model/architecture.ts";

const TINY = parseArchitecture(
  JSON.stringify({
    model_type: "llama",
    hidden_size: 64,
    intermediate_size: 128,
    max_position_embeddings: 64,
    num_attention_heads: 2,
    num_hidden_layers: 1,
    rms_norm_eps: 1e-5,
    vocab_size: 128,
  }),
  "config.json",
);

function filesFor(model: string, base?: BaseModel) {
  const config = parseConfig({ model, data: ["d"] }, "the test");
  const parts = { config, chosen: { name: "default" }, ...adapterOf(config, TINY, base) };
  const files = adapterCompanions({ ...parts, opened: { architecture: TINY, tokenizer: {} } });
  const card = files.get("README.md")!;
  return {
    adapter: JSON.parse(files.get("adapter_config.json")!) as object,
    head: parse(card.split("---\n")[1]!) as object,
    card,
  };
}

test("a repo of the hub is named by its id, and its revision apart", () => {
  const { adapter, head, card } = filesFor("https://huggingface.co/org/name/tree/v2", {
    name: "org/name",
    revision: "v2",
  });
  expect(adapter).toMatchObject({ base_model_name_or_path: "org/name", revision: "v2" });
  expect(head).toMatchObject({
    base_model: "org/name",
    tags: ["base_model:adapter:org/name", "lora", "transformers"],
  });
  expect(card).toContain("| Base model | org/name, revision v2 |");
  expect(card).not.toContain("https:");
});

test("a folder stays as it was written, in quotes where YAML would read it otherwise", () => {
  for (const model of ["models/base@v2", "C:\\models: new #1", "[a]", "yes", "seedling"]) {
    const { adapter, head } = filesFor(model);
    expect(adapter).toMatchObject({ base_model_name_or_path: model, revision: null });
    expect(head).toMatchObject({ base_model: model });
    expect(head).toHaveProperty("tags.0", `base_model:adapter:${model}`);
  }
});
