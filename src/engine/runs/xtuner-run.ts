// What a run under compat keeps and tells besides: its config as it was written, and XTuner's log.
import { serializeConfig } from "../../config/read.ts";
import type { Host, StepReport, TrainRequest } from "../../engine.ts";
import type { Gpu } from "../../gpu/device.ts";
import type { Prepared } from "./prepare-run.ts";
import { XtunerLog } from "./xtuner-log.ts";

/** config.yaml, and under compat a `.py` config under its own name, where `convert pth_to_hf` is told to look. */
export async function keepConfig({ config, workDir, source }: TrainRequest): Promise<void> {
  await workDir.write("config.yaml", serializeConfig(config));
  if (config.compat === "none" || !source?.name.endsWith(".py")) return;
  await workDir.write(source.name, source.text);
}

/** Begins the log of this part of the run; `recent` are the last reports of the part before. */
export async function openXtunerLog(
  { now, clock = () => new Date() }: Host,
  { request, resumed, opened, trainRows, plan }: Prepared,
  gpu: Gpu,
  recent: readonly StepReport[],
): Promise<XtunerLog> {
  const { config, workDir, source, onEvent } = request;
  const log = new XtunerLog({
    workDir,
    name: stemOf(source?.name ?? workDir.path),
    total: plan.steps,
    epochLength: plan.batchesPerEpoch,
    firstStep: resumed?.state.step ?? 0,
    accumulativeCounts: config.accumulative_counts,
    recent,
    clock,
    now,
    memoryBytes: () => gpu.peakBytes,
    onLine: onEvent,
    onFault: (message) => onEvent({ type: "warning", message }),
  });
  await log.open({
    environment: [`WebGPU adapter: ${gpu.name}`, `shader-f16: ${gpu.hasF16 ? "True" : "False"}`],
    seed: config.seed,
    config: source ?? { name: "config.yaml", text: serializeConfig(config) },
    samples: trainRows.length,
    example: opened.tokenizer.decode(trainRows.at(0)?.inputIds ?? []),
  });
  return log;
}

/** "config/a_copy.py" → "a_copy". */
function stemOf(path: string): string {
  const name =
    path
      .replace(/[/\\]+$/, "")
      .split(/[/\\]/)
      .at(-1) ?? path;
  return name.replace(/\.[^.]+$/, "");
}
