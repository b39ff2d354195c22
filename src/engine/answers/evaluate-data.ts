// Evaluation of a model on a data file: every example's loss, and the mean over all label tokens.
import { throwIfAborted } from "../../base/error.ts";
import { buildBatch, NO_TARGET } from "../../data/batches.ts";
import { encodeDataset } from "../../data/dataset.ts";
import type { EncodedExample, ExampleList } from "../../data/encode.ts";
import { formatNamed } from "../../data/formats.ts";
import type { EvalReport, EvaluateRequest } from "../../engine.ts";
import type { Gpu } from "../../gpu/device.ts";
import { readAdapterFolder } from "../../model/files/adapter-files.ts";
import { abortable } from "../datasets/data-source.ts";
import { Evaluator, reportOf, sumOf } from "./evaluate.ts";
import { freeModel, loadModel } from "../load-model.ts";
import { chooseTemplate, openModelFolder, readManifest } from "../model-folder.ts";
import type { Tuner } from "../tuning/tune.ts";
import { inferenceWork } from "../tuning/work-sizes.ts";

/** The template is the one asked for, else the adapter's, else the model's own. */
export async function evaluateData(
  gpu: Gpu,
  request: EvaluateRequest,
  tuner?: Tuner,
): Promise<EvalReport & { examples: number }> {
  const { adapter, data, maxLength, datasetFormat, onExample } = request;
  const opened = await openModelFolder(request.model);
  const adapterFiles = adapter && (await readAdapterFolder(adapter, opened));
  const manifest = await readManifest(adapter ?? request.model);
  const name = request.promptTemplate ?? manifest?.promptTemplate ?? "auto";
  const sources = data.map((source) => abortable(source, request.signal));
  const { examples } = await encodeDataset(sources, {
    tokenizer: opened.tokenizer,
    template: chooseTemplate(name, opened).template,
    system: request.system ?? manifest?.system ?? "",
    maxLength,
    format: formatNamed(datasetFormat),
  });
  const { computeDtype } = request;
  const targets = adapterFiles?.targets;
  const rows = { computeDtype, targets, tokens: maxLength };
  const work = inferenceWork(gpu, opened.architecture, rows);
  gpu.choices = (await tuner?.choose(gpu, work, request)) ?? {};
  const model = await loadModel(gpu, opened, {
    quantization: request.quantization ?? "none",
    doubleQuant: manifest?.doubleQuant ?? true,
    computeDtype: request.computeDtype ?? "auto",
    positions: maxLength,
    ...(adapterFiles && { targets: adapterFiles.targets }),
    onProgress: request.onProgress,
    signal: request.signal,
    record: (counted) => Evaluator.create(counted, maxLength),
  });
  let evaluator: Evaluator | undefined;
  try {
    if (adapterFiles) model.adapter?.write(adapterFiles.matrices);
    evaluator = await Evaluator.create(model, maxLength);
    let total = { loss: 0, correct: 0, labelTokens: 0 };
    let row = 0;
    for (const group of groupExamples(examples, maxLength)) {
      throwIfAborted(request.signal);
      for (const sums of await evaluateGroup(evaluator, group, maxLength)) {
        row++;
        if (sums.labelTokens > 0) onExample?.({ row, ...reportOf(sums) });
        total = {
          loss: total.loss + sums.loss,
          correct: total.correct + sums.correct,
          labelTokens: total.labelTokens + sums.labelTokens,
        };
      }
    }
    return { ...reportOf(total), examples: examples.length };
  } finally {
    evaluator?.free();
    freeModel(model);
  }
}

/** As many examples, in order, as one row holds. */
function* groupExamples(examples: ExampleList, maxLength: number): Generator<EncodedExample[]> {
  let group: EncodedExample[] = [];
  let used = 0;
  for (let index = 0; index < examples.length; index++) {
    const example = examples.at(index) as EncodedExample;
    if (group.length > 0 && used + example.inputIds.length > maxLength) {
      yield group;
      group = [];
      used = 0;
    }
    group.push(example);
    used += example.inputIds.length;
  }
  if (group.length > 0) yield group;
}

/** Runs examples side by side in one row, where they do not see each other. Sums per example. */
async function evaluateGroup(
  evaluator: Evaluator,
  examples: readonly EncodedExample[],
  rowTokens: number,
): Promise<{ loss: number; correct: number; labelTokens: number }[]> {
  const ends: number[] = [];
  let end = 0;
  for (const { inputIds } of examples) ends.push((end += inputIds.length));
  const starts = [0, ...ends.slice(0, -1)];
  const batch = buildBatch(
    [
      {
        inputIds: Uint32Array.from(examples.flatMap(({ inputIds }) => [...inputIds])),
        labels: Int32Array.from(examples.flatMap(({ labels }) => [...labels])),
        segmentStarts: Uint32Array.from(starts),
      },
    ],
    { rowTokens, rowsPerBatch: 1, seed: 0 },
  );
  const { losses, correct } = await evaluator.tokens(batch);
  return starts.map((start, i) => {
    const range = [start, ends[i]] as const;
    const targets = batch.targets.subarray(...range);
    return {
      loss: sumOf(losses.subarray(...range)),
      correct: sumOf(correct.subarray(...range)),
      labelTokens: targets.reduce((count, target) => count + Number(target !== NO_TARGET), 0),
    };
  });
}
