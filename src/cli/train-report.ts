// The events of a run as lines: what was loaded, how it goes, what the model answers.
import {
  countOf,
  formatBytes,
  formatBytesByKind,
  formatCount,
  formatDuration,
} from "../base/format.ts";
import { formatFunnel } from "../data/funnel.ts";
import type { TrainConfig } from "../config.ts";
import type { Forecast, RunPlan, RunSummary, StepReport, TrainEvent } from "../engine.ts";
import { reportTrying, TRYING } from "./kernel-table.ts";
import type { Output } from "./output.ts";
import { visible } from "./visible.ts";
import { formatLoadingBar, formatRate, formatStepBar, formatStepLine } from "./progress.ts";

type Phase = Extract<TrainEvent, { type: "phase" }>["phase"];

export interface ReportOptions {
  /** Steps between lines where there is no progress bar. */
  readonly loggingSteps: number;
  /** The lines are those of XTuner's log, which come as events of their own. */
  readonly isXtuner?: boolean;
}

/** Events that XTuner's log has lines about. */
const IN_XTUNER_LOG: ReadonlySet<TrainEvent["type"]> = new Set(["sample", "checkpoint"]);

/** What stands where a bar will be, in phases that have none to begin with. */
const PHASES: Partial<Readonly<Record<Phase, string>>> = {
  data: "reading the data …",
  compile: "compiling kernels …",
  train: "the first step, which takes longest …",
};

/** A listener that shows every event. */
export function reportTraining(
  output: Output,
  { loggingSteps, isXtuner = false }: ReportOptions,
): (event: TrainEvent) => void {
  const { paint } = output;
  return (event) => {
    output.emit(event.type, event);
    if (isXtuner && IN_XTUNER_LOG.has(event.type)) return;
    switch (event.type) {
      case "phase":
        output.status(PHASES[event.phase]);
        if (event.phase === "tune") output.say(TRYING);
        break;
      case "tuning":
        reportTrying(output, event.done, event.total, event);
        break;
      case "loading":
        output.status(formatLoadingBar(event.bytes, event.totalBytes, output.columns));
        break;
      case "data":
        for (const line of formatFunnel(event.funnel)) output.say(line);
        break;
      case "plan":
        for (const line of formatPlan(event.plan, isXtuner)) output.say(line);
        break;
      case "step":
        output.status(formatStepBar(event, output.columns));
        if (isXtuner || output.isLive || !isLogged(event, loggingSteps)) break;
        output.say(formatStepLine(event));
        break;
      case "log":
        // A log is what such a run is watched by: `| tee log` gets it whole, as mmengine's.
        output.print(`${visible(event.line)}\n`);
        break;
      case "sample":
        output.say(`${paint.dim(`step ${event.step}`)}  ${paint.bold(visible(event.input))}`);
        output.say(indent(visible(event.output)));
        break;
      case "eval":
        output.say(
          `step ${event.step}  held-out loss ${event.loss.toFixed(4)}, perplexity ${event.perplexity.toFixed(2)}, token accuracy ${(100 * event.tokenAccuracy).toFixed(1)} %`,
        );
        break;
      case "checkpoint":
        output.say(`step ${event.step}  saved ${event.name}`);
        break;
      case "paused":
      case "resumed":
        output.say(`step ${event.step}  ${event.type}`);
        break;
      case "warning":
        output.say(`${paint.yellow("Warning:")} ${event.message}`);
        break;
    }
  };
}

/** "Finished 30 of 30 steps in 1:02 …"; a run under compat counts iterations. */
export function formatSummary(summary: RunSummary, isXtuner = false): string {
  const unit = isXtuner ? "iterations" : "steps";
  // Resumed where nothing was left to do: there is no loss to tell of.
  if (Number.isNaN(summary.finalLoss) && summary.endedBy === "finished") {
    return `All ${formatCount(summary.steps)} ${unit} were done before; nothing was left to do.`;
  }
  const verb = summary.endedBy === "finished" ? "Finished" : "Stopped after";
  const steps = `${formatCount(summary.step)} of ${formatCount(summary.steps)} ${unit}`;
  const skipped = summary.skipped > 0 ? `, ${summary.skipped} skipped` : "";
  return `${verb} ${steps} in ${formatDuration(summary.seconds)}: loss ${summary.finalLoss.toFixed(4)}${skipped}, at most ${formatBytes(summary.peakGpuBytes)} on the GPU.`;
}

/** What a run would be, for a person to decide whether to start it. */
export function formatForecast(found: Forecast, config: TrainConfig): string[] {
  const n = formatCount;
  const { unit, steps, firstStep, schedule, memory } = found;
  const from = firstStep > 0 ? `, of which ${n(firstStep)} are done` : "";
  const group = config.accumulative_counts;
  const counted =
    unit === "step"
      ? `${countOf(steps, "optimizer step")} of ${countOf(group, "pass", "passes")}`
      : `${countOf(steps, "iteration")}, with an optimizer step after every ${n(group)}`;
  const perEpoch = found.batchesPerEpoch;
  const epoch = `${countOf(perEpoch, "pass", "passes")} ${perEpoch === 1 ? "is" : "are"} an epoch`;
  const saves = Math.ceil(steps / config.save_steps);
  const kept = config.save_total_limit < 0 ? saves : Math.min(saves, config.save_total_limit);
  return [
    `Computes on ${found.adapterName} in ${found.computeDtype}.`,
    `${counted}${from}; ${epoch}.`,
    `Learning rate ${formatRate(schedule.first)} at first, ${formatRate(schedule.peak)} at ${unit} ${n(schedule.peakStep)}, ${formatRate(schedule.last)} at the last.`,
    `${n(found.trainableParameters)} trainable parameters.`,
    `${formatBytes(memory.total)} of GPU memory (${formatBytesByKind(memory.byKind)})${found.checkpointing ? ", with parts of blocks computed twice to save some" : ""}.`,
    `${formatBytes(found.checkpointBytes)} a checkpoint, at most ${n(kept)} of them at a time: ${formatBytes(kept * found.checkpointBytes)} on the disk.`,
  ];
}

export function indent(text: string): string {
  return text.replaceAll(/^(?=.)/gm, "  ");
}

function formatPlan(plan: RunPlan, isXtuner: boolean): string[] {
  const unit = isXtuner ? "iteration" : "step";
  const from = plan.firstStep > 0 ? ` from ${unit} ${plan.firstStep}` : "";
  return [
    `${plan.adapterName}, ${plan.computeDtype}, ${formatBytes(plan.memory.total)} of GPU memory (${formatBytesByKind(plan.memory.byKind)})`,
    `${formatCount(plan.trainableParameters)} trainable parameters, ${formatCount(plan.steps)} ${unit}s${from}`,
  ];
}

/** The first step too, since the wait for it is the longest. */
function isLogged({ step, steps }: StepReport, loggingSteps: number): boolean {
  return step === 1 || step === steps || step % loggingSteps === 0;
}
