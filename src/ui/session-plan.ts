// What the next run will take and how long it will last, as the engine counts and measures it.
import { createSignal } from "solid-js";
import { messageOf } from "../base/error.ts";
import type { Calibration, RunEstimate } from "../services/api.ts";
import type { SliceContext } from "./session.ts";

export interface Plan {
  /** Of what is chosen now; undefined while it is counted, and where there is nothing to count. */
  readonly estimate: () => RunEstimate | undefined;
  readonly estimateFault: () => string | undefined;
  /** Undefined until it was measured for what is chosen now. */
  readonly calibration: () => Calibration | undefined;
  readonly calibrationFault: () => string | undefined;
  readonly isCalibrating: () => boolean;
  /** Stands for all that the numbers depend on. */
  readonly subject: () => string;
  /** Counts what is chosen now; of several calls in a row, the last one counts. */
  count(): Promise<void>;
  /** Three steps of the real run. */
  calibrate(): Promise<void>;
  /** Resolves when no measurement is under way: the GPU is free. */
  settled(): Promise<void>;
}

/** A result and what it is of: shown only while that is what is chosen. */
interface Found<T> {
  readonly subject: string;
  readonly value?: T;
  readonly fault?: string;
}

// Somebody may be typing.
const PATIENCE_MS = 150;

export function createPlan({ workers, session }: SliceContext): Plan {
  const [counted, setCounted] = createSignal<Found<RunEstimate>>();
  const [measured, setMeasured] = createSignal<Found<Calibration>>();
  const [isCalibrating, setIsCalibrating] = createSignal(false);
  let measuring: Promise<void> = Promise.resolve();

  const request = () => {
    const { models, data, recipe, check } = session();
    return {
      modelId: models.selected()?.id,
      dataIds: data.selected().map(({ id }) => id),
      config: recipe.config(),
      budgetBytes: check.budgetBytes(),
    };
  };
  const subject = () => JSON.stringify(request());
  const current = <T>(found: Found<T> | undefined) =>
    found?.subject === subject() ? found : undefined;

  const measure = async () => {
    const { modelId, dataIds, config } = request();
    if (modelId === undefined) return;
    const of = subject();
    setIsCalibrating(true);
    setMeasured({ subject: of });
    setMeasured(await find(of, () => workers.engine.calibrate(modelId, dataIds, config)));
    setIsCalibrating(false);
  };
  return {
    estimate: () => current(counted())?.value,
    estimateFault: () => current(counted())?.fault,
    calibration: () => current(measured())?.value,
    calibrationFault: () => current(measured())?.fault,
    isCalibrating,
    subject,
    async count() {
      const of = subject();
      await new Promise((resolve) => {
        setTimeout(resolve, PATIENCE_MS);
      });
      const { modelId, config, budgetBytes } = request();
      if (modelId === undefined || of !== subject()) return;
      const holdsOut = config.eval_split > 0;
      const found = await find(of, () =>
        workers.engine.estimate(modelId, config, budgetBytes, holdsOut),
      );
      if (of === subject()) setCounted(found);
    },
    calibrate() {
      if (!isCalibrating()) measuring = measure();
      return measuring;
    },
    settled: () => measuring,
  };
}

async function find<T>(subject: string, action: () => Promise<T>): Promise<Found<T>> {
  try {
    return { subject, value: await action() };
  } catch (error) {
    return { subject, fault: messageOf(error) };
  }
}
