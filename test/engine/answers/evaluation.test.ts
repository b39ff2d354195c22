// The evaluation questions of a run without compat: how long an answer may be, and which system message.
import { afterAll, expect, test } from "vitest";
import { parseConfig } from "../../../src/config/read.ts";
import { createEngine } from "../../../src/engine.ts";
import { nodeHost, openDataSource, openFolder } from "../../../src/hosts/node.ts";
import type { AdapterChoice } from "../../../src/hosts/node-gpu.ts";
import { temporaryFolder, writeTinyData, writeTinyModel } from "../tiny-folder.ts";

const adapter = (process.env["HONE_ADAPTER"] ?? "swiftshader") as AdapterChoice;
const engine = createEngine(nodeHost({ adapter }));
afterAll(() => engine.close());

const model = writeTinyModel();
const data = writeTinyData(4);

/** The answer before training. */
async function answer(options: object): Promise<string> {
  const abort = new AbortController();
  const config = parseConfig(
    {
      model,
      data: [data],
      prompt_template: "default",
      max_length: 48,
      evaluation_inputs: ["Who is it?"],
      lora: { r: 4 },
      ...options,
    },
    "the test",
  );
  let found = "";
  const run = engine.train({
    config,
    model: openFolder(model),
    data: [await openDataSource(data)],
    workDir: openFolder(temporaryFolder()),
    signal: abort.signal,
    onEvent(event) {
      if (event.type !== "sample") return;
      found = event.output;
      abort.abort();
    },
  });
  await expect(run).rejects.toThrow("stopped before its first step");
  return found;
}

test("evaluation_max_new_tokens cuts an answer off, evaluation_system goes before system", async () => {
  const long = await answer({ evaluation_max_new_tokens: 8 });
  const short = await answer({ evaluation_max_new_tokens: 3 });
  expect(short).not.toBe("");
  expect(short.length).toBeLessThan(long.length);
  const own = await answer({
    evaluation_system: "Be brief.",
    system: "Be long.",
    evaluation_max_new_tokens: 8,
  });
  const shared = await answer({ system: "Be brief.", evaluation_max_new_tokens: 8 });
  expect(own).toBe(shared);
  expect(own).not.toBe(long);
});
