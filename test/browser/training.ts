// Runs in the page: set up and watched as people do, and the same ones in Node to compare them with.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Locator, Page } from "playwright-core";
import { expect } from "vitest";
import type { RunStatus } from "../../src/services/api.ts";
import { hone } from "../cli/run-cli.ts";
import { useSeedling } from "./actions.ts";
import { type App, goTo, press } from "./app.ts";

export const STEPS = 20;

/** Short steps, with all that a run does between them: dropout, checkpoints, answers and a held-out loss. */
const RECIPE = {
  max_length: 32,
  batch_size: 1,
  accumulative_counts: 1,
  max_steps: STEPS,
  lr: 5e-3,
  lora: { r: 8, lora_alpha: 16, lora_dropout: 0.1 },
  eval_split: 0.02,
  save_steps: 3,
  evaluation_freq: 10,
  evaluation_inputs: ["Who are you?", "Who made you?"],
};

/** Seedling, a sample and the small recipe with those changes, ready on Review. */
export async function setUpRun(
  app: App,
  page = app.page,
  changes: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  const { data, plan } = app.text;
  await useSeedling(app, page);
  await goTo(app, "data", page);
  await press(page, data.add.sampleNames["identity-en"]);
  const use = data.list.use("Who am I? (sample)");
  await page.getByRole("checkbox", { name: use, checked: true }).waitFor(); // not another, chosen before
  await goTo(app, "recipe", page);
  await press(page, plan.recipe.file.paste);
  await page
    .getByLabel(plan.recipe.file.pasteLabel)
    .fill(JSON.stringify({ ...RECIPE, ...changes }));
  await press(page, plan.recipe.file.use);
  await page.getByText(plan.recipe.file.loaded(plan.recipe.file.pasted)).waitFor();
  await goTo(app, "review", page);
}

/** Starts what is set up under that name, which is its id too. */
export async function startRun(app: App, name: string, page = app.page): Promise<void> {
  await page.getByLabel(app.text.plan.review.name.label).fill(name);
  await press(page, app.text.plan.review.start);
  await statusOf(app, "running", page).waitFor();
}

/** The word on the Live screen for how the run is. */
export function statusOf(app: App, status: RunStatus, page = app.page): Locator {
  const { progress, statuses } = app.text.live.run;
  return page.getByRole("region", { name: progress }).getByText(statuses[status], { exact: true });
}

/** Waits until so many steps are done. */
export async function doneSteps(app: App, step: number, page = app.page): Promise<void> {
  const name = app.text.live.run.progress;
  const bar = page.getByRole("progressbar", { name });
  // Looked at together with its name: until steps are done it counts other things, by other names.
  const value = () =>
    bar.evaluate(
      (element, wanted) =>
        element.ariaLabel === wanted ? (element as HTMLProgressElement).value : 0,
      name,
    );
  await expect.poll(value, { timeout: 150_000, interval: 30 }).toBeGreaterThanOrEqual(step);
}

/** Waits for the end of the run, and returns all that it left of its numbers. */
export async function finishedRun(app: App, name: string, page = app.page): Promise<Outcome> {
  await statusOf(app, "finished", page).waitFor({ timeout: 200_000 });
  return outcomeOf(await readStored(page, `runs/${name}/work/metrics.jsonl`));
}

/** Steps, held-out losses and answers of a run in their order. */
export type Outcome = readonly Readonly<Record<string, unknown>>[];

/**
 * From a metrics.jsonl, without the times. What each JavaScript engine computes by a cosine or an exponential
 * of its own may differ in the last of 64 bits: the rate is taken as the GPU gets it, the perplexity left out.
 */
function outcomeOf(metrics: string): Outcome {
  return metrics
    .trim()
    .split("\n")
    .map((line) => {
      const read = JSON.parse(line) as Record<string, unknown>;
      const { tokensPerSecond: _, etaSeconds: __, perplexity: ___, ...rest } = read;
      return { ...rest, learningRate: Math.fround(Number(rest["learningRate"])) };
    });
}

/** The same run in Node, from the page's own config and data. Nothing comes between its steps. */
export async function trainInNode(page: Page, name: string, folder: string): Promise<Outcome> {
  const run = JSON.parse(await readStored(page, `runs/${name}/run.json`)) as { dataIds: string[] };
  const rows = await readStored(page, `data/${run.dataIds[0]}/data.jsonl`);
  writeFileSync(join(folder, "run.yaml"), await readStored(page, `runs/${name}/work/config.yaml`));
  writeFileSync(join(folder, "rows.jsonl"), rows);
  const own = ["--set", "data=rows.jsonl", "--set", "work_dir=work"];
  const { code, stderr } = await hone(["train", "run.yaml", "--gpu", "swiftshader", ...own], {
    folder,
  });
  expect(code, stderr).toBe(0);
  return outcomeOf(readFileSync(join(folder, "work", "metrics.jsonl"), "utf8"));
}

/** A text of the origin's private files. */
async function readStored(page: Page, path: string): Promise<string> {
  return page.evaluate(async (names) => {
    let folder = await navigator.storage.getDirectory();
    for (const name of ["hone", ...names.slice(0, -1)]) {
      folder = await folder.getDirectoryHandle(name);
    }
    const file = await folder.getFileHandle(names.at(-1) ?? "");
    return (await file.getFile()).text();
  }, path.split("/"));
}
