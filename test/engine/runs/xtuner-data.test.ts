// Data of a run under compat: rows as XTuner packs and shows them, and those that teach nothing.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseConfig } from "../../../src/config/read.ts";
import { prepareRun } from "../../../src/engine/runs/prepare-run.ts";
import type { TrainEvent } from "../../../src/engine.ts";
import { nodeHost, openDataSource, openFolder } from "../../../src/hosts/node.ts";
import { temporaryFolder, writeTinyModel } from "../tiny-folder.ts";

const host = nodeHost({ adapter: "swiftshader" }); // which is never asked for
const model = writeTinyModel();
const answered = (question: string) => ({
  messages: [
    { role: "user", content: question },
    { role: "assistant", content: "Yes." },
  ],
});

async function prepare(rows: readonly object[], options: object = {}) {
  const data = join(temporaryFolder(), "rows.json");
  writeFileSync(data, JSON.stringify(rows));
  const events: TrainEvent[] = [];
  const base = { compat: "xtuner-0.1.17", model, data, prompt_template: "default" };
  const { prepared } = await prepareRun(host, {
    config: parseConfig({ ...base, max_length: 32, warmup_ratio: 0, ...options }, "the test"),
    model: openFolder(model),
    data: [await openDataSource(data)],
    workDir: openFolder(temporaryFolder()),
    onEvent: (event) => events.push(event),
  });
  const warnings = events.flatMap((event) => (event.type === "warning" ? [event.message] : []));
  return { prepared, warnings };
}

const many = (count: number, row: object) => Array.from({ length: count }, () => row);

test("documents of a row see each other, and positions run through", async () => {
  const { prepared, warnings } = await prepare(many(64, answered("Is it?")));
  const { positions, segmentStart, tokens } = prepared.batches.at(0);
  expect(tokens).toBe(32);
  expect([...positions]).toEqual(Array.from({ length: 32 }, (_, i) => i));
  expect(new Set(segmentStart)).toEqual(new Set([0]));
  expect(warnings).toEqual([]);
  const apart = await prepare(many(64, answered("Is it?")), { use_varlen_attn: true });
  expect(new Set(apart.prepared.batches.at(0).segmentStart).size).toBeGreaterThan(1);
});

test("rows without a label stay, are counted, and weigh nothing", async () => {
  // After a first answer nothing is learned, and the next row may begin with a long question.
  const { messages } = answered("Is it?");
  const long = "Is it? ".repeat(6).trim();
  const quiet = [
    { role: "user", content: long },
    { role: "assistant", content: "No.", loss: false },
  ];
  const rows = [...many(320, { messages: [...messages, ...quiet] }), ...many(320, answered(long))];
  const { prepared, warnings } = await prepare(rows, { max_length: 48 });
  const { batches, plan } = prepared;
  const labels = Array.from(
    { length: batches.batchesPerEpoch },
    (_, i) => batches.at(i).labelTokens,
  );
  const empty = labels.filter((count) => count === 0).length;
  expect(empty).toBeGreaterThan(0);
  expect(empty).toBeLessThan(labels.length);
  expect(warnings).toEqual([
    expect.stringMatching(new RegExp(`^${empty} of ${labels.length} rows have no token`)),
  ]);
  expect(plan.lossWeight(0, 0)).toBe(0);
});

test("a run on which XTuner's schedule fails is refused before the model is loaded", async () => {
  const small = prepare(many(64, answered("Is it?")), { warmup_ratio: 0.03, max_epochs: 1 });
  await expect(small).rejects.toThrow("XTuner's schedule fails on 32 iterations");
});
