// Review: what will happen, what it takes, and the start.
import { createEffect, createMemo, createSignal, on, Show } from "solid-js";
import type { TrainConfig } from "../../config.ts";
import { Button } from "../parts/Button.tsx";
import { TextField } from "../parts/Fields.tsx";
import { Screen } from "../parts/Screen.tsx";
import { type Blocker, freeName } from "../review.ts";
import { useSession, useText } from "../session.ts";
import { ReviewBlocked } from "./ReviewBlocked.tsx";
import { ReviewDisk } from "./ReviewDisk.tsx";
import { ReviewDoubts } from "./ReviewDoubts.tsx";
import { ReviewMemory } from "./ReviewMemory.tsx";
import { ReviewTime } from "./ReviewTime.tsx";
import { ReviewWhat } from "./ReviewWhat.tsx";
import "./review.css";

/** Models of up to so many bytes are measured without being asked for: it takes seconds. */
const QUICK_MODEL_BYTES = 50e6;

export function Review() {
  const session = useSession();
  const { app, check, data, live, models, recipe, runs } = session;
  const text = useText();
  const words = () => text().plan.review;
  const [ownName, setOwnName] = createSignal<string>();
  const [isStarting, setIsStarting] = createSignal(false);

  const blockers = createMemo((): Blocker[] => [
    ...(check.problem() === undefined ? [] : (["gpu"] as const)),
    ...(models.selected() ? [] : (["model"] as const)),
    ...(data.selected().length > 0 ? [] : (["data"] as const)),
    ...(recipe.problems().size === 0 ? [] : (["recipe"] as const)),
    ...(live.elsewhere() === undefined ? [] : (["elsewhere"] as const)),
    ...(live.isRunning() ? (["running"] as const) : []),
  ]);
  const isReady = () => blockers().length === 0 && check.gpu() !== undefined;
  const name = () =>
    ownName() ??
    freeName(
      words().name.made(
        models.selected()?.name ?? "",
        data
          .selected()
          .map((one) => one.name)
          .join(" + "),
      ),
      runs.list().map((run) => run.name),
    );
  const fits = () => recipe.plan.estimate()?.verdict === "fits";
  // What is chosen has changed: it is counted anew, and a small model measured.
  createEffect(
    on([recipe.plan.subject, isReady], async () => {
      if (!isReady()) return;
      await recipe.plan.count();
      const isQuick = (models.selected()?.bytes ?? Infinity) < QUICK_MODEL_BYTES;
      const isKnown = recipe.plan.calibration() ?? recipe.plan.calibrationFault();
      // Once it was started, this screen may be gone, and the run needs the GPU.
      const isStarted = isStarting() || live.isRunning();
      if (isQuick && isReady() && isKnown === undefined && fits() && !isStarted) {
        await recipe.plan.calibrate();
      }
    }),
  );
  const start = async () => {
    const model = models.selected();
    if (!model || isStarting()) return;
    setIsStarting(true);
    await recipe.plan.settled();
    const parent = recipe.parent();
    await app.attempt(() =>
      live.startNew({
        name: name().trim() || words().name.made(model.name, ""),
        modelId: model.id,
        dataIds: data.selected().map(({ id }) => id),
        config: withinBudget(recipe.config()),
        ...(parent && { parent }),
      }),
    );
    setIsStarting(false);
  };
  /** What was counted against the budget is decided by it too; a run started anyway has no limit. */
  const withinBudget = (config: TrainConfig): TrainConfig => {
    const isWithin = ["fits", "tight"].includes(recipe.plan.estimate()?.verdict ?? "");
    if (config.max_memory !== "auto" || !isWithin) return config;
    return { ...config, max_memory: check.budgetBytes() / 2 ** 30 };
  };
  const startWords = () => {
    if (isStarting()) return words().starting;
    const isDoubtful = recipe.plan.estimate() !== undefined && !fits();
    return isDoubtful ? words().startAnyway : words().start;
  };

  return (
    <Screen
      title={words().title}
      lead={words().lead}
      actions={
        <Button
          kind="primary"
          disabled={!isReady() || recipe.plan.estimate()?.refusal !== undefined}
          isBusy={isStarting()}
          onClick={() => void start()}
        >
          {startWords()}
        </Button>
      }
    >
      <Show when={blockers().length > 0}>
        <ReviewBlocked blockers={blockers()} />
      </Show>
      <ReviewWhat />
      <ReviewDoubts />
      <Show when={models.selected() && data.selected().length > 0 && check.gpu()}>
        <ReviewMemory />
        <div class="columns">
          <ReviewTime canMeasure={isReady()} />
          <ReviewDisk />
        </div>
        <TextField
          label={words().name.label}
          help={words().name.help}
          value={name()}
          onInput={setOwnName}
          onChange={setOwnName}
        />
      </Show>
    </Screen>
  );
}
