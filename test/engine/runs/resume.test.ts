// A run that is broken off at any step and resumed is, bit for bit, the run that was not.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import type { TrainConfig } from "../../../src/config.ts";
import { parseConfig } from "../../../src/config/read.ts";
import { createEngine, type TrainEvent } from "../../../src/engine.ts";
import { nodeHost, openDataSource, openFolder } from "../../../src/hosts/node.ts";
import type { AdapterChoice } from "../../../src/hosts/node-gpu.ts";
import { temporaryFolder, writeTinyData, writeTinyModel } from "../tiny-folder.ts";

const adapter = (process.env["HONE_ADAPTER"] ?? "swiftshader") as AdapterChoice;
const engine = createEngine(nodeHost({ adapter }));
afterAll(() => engine.close());
const model = writeTinyModel();
const data = writeTinyData();

const STEPS = 14;
const config = parseConfig(
  {
    model,
    data: [data],
    max_length: 32,
    batch_size: 1,
    accumulative_counts: 2,
    max_steps: STEPS,
    lr: 1e-2,
    lora: { r: 4, lora_alpha: 8, lora_dropout: 0.2 },
    eval_split: 0.1,
    evaluation_freq: 5,
    save_steps: 4,
    save_total_limit: -1,
    seed: 3,
  },
  "the test",
);

interface Options {
  readonly breakAfter?: number;
  readonly resume?: string;
  readonly changes?: Partial<TrainConfig>;
}

/** Trains until done, or until `breakAfter` steps are reported. */
async function train(workDir: string, options: Options = {}) {
  const abort = new AbortController();
  const events: TrainEvent[] = [];
  const summary = await engine.train({
    config: { ...config, ...options.changes },
    model: openFolder(model),
    data: [await openDataSource(data)],
    workDir: openFolder(workDir),
    signal: abort.signal,
    onEvent(event) {
      events.push(event);
      if (event.type === "step" && event.step === options.breakAfter) abort.abort();
    },
    ...(options.resume !== undefined && { resume: options.resume }),
  });
  return { summary, events };
}

const whole = temporaryFolder();

test("a run ends with its last checkpoint and a line of metrics per step", async () => {
  const { summary } = await train(whole);
  expect(summary).toMatchObject({ endedBy: "finished", step: STEPS, skipped: 0 });
  expect(lossesOf(whole).length).toBe(STEPS);
  expect(readFileSync(join(whole, "last_checkpoint"), "utf8")).toBe(`iter_${STEPS}\n`);
});

// Just before, at and after a checkpoint; the first and the last but one.
test.each([1, 4, 6, 9, 12])(
  "broken off after step %i and resumed: equal to the bit",
  async (at) => {
    const workDir = temporaryFolder();
    const { summary } = await train(workDir, { breakAfter: at });
    expect(summary.endedBy).toBe("stopped");
    // Steps in flight when the signal comes are finished and saved with the rest.
    expect(summary.step).toBeGreaterThanOrEqual(at);
    expect(summary.step).toBeLessThan(STEPS);
    await train(workDir, { resume: "last" });
    expectSameEnd(workDir);
  },
);

test("resumed from an older checkpoint, the steps after it are done again and are the same", async () => {
  const workDir = temporaryFolder();
  await train(workDir);
  await train(workDir, { resume: "iter_8" });
  expectSameEnd(workDir);
});

test("a damaged newest checkpoint is passed over with a warning for the one before", async () => {
  const workDir = temporaryFolder();
  await train(workDir, { breakAfter: 9 });
  const folder = openFolder(workDir);
  const last = (await folder.readText("last_checkpoint")).trim();
  const bytes = await folder.read(`${last}/optimizer.safetensors`);
  bytes[bytes.length - 1]! ^= 1;
  await folder.write(`${last}/optimizer.safetensors`, bytes);
  const { events } = await train(workDir, { resume: "last" });
  const warning = events.find((event) => event.type === "warning");
  expect(warning).toMatchObject({ message: expect.stringContaining(`Passed over ${last}`) });
  expectSameEnd(workDir);
});

test("resuming with another seed or other data is refused, and says what changed", async () => {
  const request = {
    config: { ...config, seed: 4 },
    model: openFolder(model),
    data: [await openDataSource(data)],
    workDir: openFolder(whole),
    resume: "last",
    onEvent: () => {},
  };
  await expect(engine.train(request)).rejects.toThrow("seed was 3 and is 4");
  const grown = { ...request, config, data: [await openDataSource(writeTinyData(41))] };
  await expect(engine.train(grown)).rejects.toThrow(/data was {"rows":40,.+} and is {"rows":41,/);
});

test("under a constant rate a finished run goes on to a greater length, as if it had been meant to be of it", async () => {
  const changes = { lr_scheduler: "constant", warmup_ratio: 0, save_steps: 3 } as const;
  const [longer, short] = [temporaryFolder(), temporaryFolder()];
  await train(longer, { changes: { ...changes, max_steps: 5 } });
  await train(short, { changes: { ...changes, max_steps: 3 } });
  const { summary } = await train(short, { changes: { ...changes, max_steps: 5 }, resume: "last" });
  expect(summary).toMatchObject({ endedBy: "finished", step: 5, steps: 5 });
  for (const file of ["adapter_model.safetensors", "optimizer.safetensors"]) {
    const [expected, found] = [longer, short].map((dir) => readFileSync(join(dir, "iter_5", file)));
    expect(found?.equals(expected!), file).toBe(true);
  }
  expect(lossesOf(short)).toEqual(lossesOf(longer));
  const less = train(short, { changes: { ...changes, max_steps: 4 }, resume: "last" });
  await expect(less).rejects.toThrow("5 steps are done, and it would end after 4");
});

test("where the length sets the rates of the steps that are done, the way to train on is named", async () => {
  const { message } = await train(whole, { changes: { max_steps: 20 }, resume: "last" }).then(
    () => new Error("not refused"),
    (error: Error) => error,
  );
  const place = join(whole, `iter_${STEPS}`);
  expect(message).toBe(
    `${place} belongs to a run of another length (max_steps was 14 and is 20): the 14 steps that are done would have had other learning rates, which depend on the length under lr_scheduler cosine with warmup_ratio 0.03.\n` +
      `To train on from it, start a new run in another folder with load_from: ${place} and a schedule of its own, or resume with max_steps: 14.`,
  );
});

function lossesOf(workDir: string): unknown[] {
  return readFileSync(join(workDir, "metrics.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map(
      (line) => JSON.parse(line) as { type: string; step: number; loss: number; gradNorm: number },
    )
    .filter(({ type }) => type === "step")
    .map(({ step, loss, gradNorm }) => ({ step, loss, gradNorm }));
}

/** The last checkpoint's numbers, the whole optimizer and every loss are those of the unbroken run. */
function expectSameEnd(workDir: string): void {
  const last = `iter_${STEPS}`;
  for (const file of ["adapter_model.safetensors", "optimizer.safetensors"]) {
    const expected = readFileSync(join(whole, last, file));
    expect(expected.equals(readFileSync(join(workDir, last, file))), file).toBe(true);
  }
  const stateOf = (folder: string) =>
    (JSON.parse(readFileSync(join(folder, last, "state.json"), "utf8")) as Record<string, unknown>)[
      "optimizerState"
    ];
  expect(stateOf(workDir)).toEqual(stateOf(whole));
  expect(lossesOf(workDir)).toEqual(lossesOf(whole));
}
