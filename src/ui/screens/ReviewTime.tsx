// How long the run lasts: measured on three real steps, and before that in words only.
import { Show } from "solid-js";
import { formatCount, formatDuration } from "../../base/format.ts";
import { Fact } from "../parts/Bits.tsx";
import { Button } from "../parts/Button.tsx";
import { ErrorNotice } from "../parts/Notice.tsx";
import { guessTime } from "../review.ts";
import { useSession, useText } from "../session.ts";

export function ReviewTime(props: { readonly canMeasure: boolean }) {
  const { check, data, models, recipe } = useSession();
  const text = useText();
  const words = () => text().plan.review.time;
  const rough = () => {
    const model = models.selected();
    if (!model) return undefined;
    const isSoftware = check.gpu()?.isSoftware === true;
    return words().rough[guessTime(recipe.config(), model, data.selected(), isSoftware)];
  };
  return (
    <section class="card" aria-live="polite" aria-busy={recipe.plan.isCalibrating()}>
      <h2>{words().title}</h2>
      <Show
        when={recipe.plan.calibration()}
        fallback={
          <>
            <p>
              <strong>{rough()}</strong>
            </p>
            <p class="small quiet">
              {recipe.plan.isCalibrating() ? words().measuring : words().roughWhy}
            </p>
          </>
        }
      >
        {(calibration) => (
          <>
            <p>
              <strong>{words().measured(formatDuration(calibration().totalSeconds))}</strong>
            </p>
            <dl class="facts">
              <Fact name={words().steps}>{formatCount(calibration().steps)}</Fact>
              <Fact name={words().step}>
                {words().perStep(calibration().secondsPerStep.toPrecision(2))}
              </Fact>
              <Fact name={words().speed}>
                {words().perSecond(formatCount(calibration().tokensPerSecond))}
              </Fact>
            </dl>
            <p class="small quiet">{words().from}</p>
          </>
        )}
      </Show>
      <Show when={recipe.plan.calibrationFault()}>
        {(message) => <ErrorNotice message={message()} />}
      </Show>
      <div class="row">
        <Button
          isBusy={recipe.plan.isCalibrating()}
          disabled={!props.canMeasure}
          onClick={() => void recipe.plan.calibrate()}
        >
          {recipe.plan.calibration() ? words().again : words().measure}
        </Button>
      </div>
    </section>
  );
}
