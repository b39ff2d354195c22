// The run's curves over steps, tokens or time, all at one point and in one part of it.
import { createMemo, createSignal } from "solid-js";
import { formatCount, formatDuration } from "../../base/format.ts";
import type { CurveAxis } from "../live-report.ts";
import { Chart, type ChartSeries, createChartLink } from "../parts/Chart.tsx";
import { formatValue, smooth } from "../parts/chart-data.ts";
import { CheckField, Segments, Slider } from "../parts/Fields.tsx";
import { useSession, useText } from "../session.ts";
import { readSetting, writeSetting } from "../settings.ts";

const AXES: readonly CurveAxis[] = ["step", "tokens", "seconds"];
const DEFAULT_SMOOTHING = 0.9;

export function LiveCharts() {
  const { live } = useSession();
  const text = useText();
  const link = createChartLink();
  const [axis, setAxis] = createSignal<CurveAxis>("step");
  const [isLog, setIsLog] = createSignal(false);
  const [weight, setWeight] = createSignal(
    readSetting("smoothing", (value) => (typeof value === "number" ? value : DEFAULT_SMOOTHING)),
  );
  const words = () => text().live.run.charts;
  const loss = createMemo((): readonly ChartSeries[] => {
    const { curves, evals } = live.report();
    const x = curves[axis()];
    const raw = { name: words().each, x, y: curves.loss, color: "quiet", width: 1 } as const;
    const smoothed = {
      name: words().smoothed,
      x,
      y: smooth(curves.loss, weight()),
      color: "accent",
      width: 2,
    } as const;
    const heldOut = {
      name: words().heldOut,
      x: evals.map(({ step }) => curves.at(axis(), step)),
      y: evals.map((report) => report.loss),
      color: "second",
      isDashed: true,
      isSparse: true,
    } as const;
    return [raw, ...(weight() > 0 ? [smoothed] : []), ...(evals.length > 0 ? [heldOut] : [])];
  });
  const single = (name: string, column: "gradNorm" | "learningRate") =>
    createMemo((): readonly ChartSeries[] => {
      const { curves } = live.report();
      return [{ name, x: curves[axis()], y: curves[column], color: "accent" }];
    });
  const gradNorm = single(words().gradNorm, "gradNorm");
  const learningRate = single(words().learningRate, "learningRate");
  const formatX = () => (axis() === "seconds" ? formatDuration : formatCount);
  const shared = () => ({
    link,
    xLabel: words().axes[axis()],
    formatX: formatX(),
    isLog: isLog(),
  });
  return (
    <section class="stack" aria-labelledby="live-charts">
      <div class="row apart">
        <h2 id="live-charts">{words().title}</h2>
        <div class="row">
          <Segments
            label={words().axis}
            value={axis()}
            options={AXES.map((value) => ({ value, label: words().axes[value] }))}
            onChange={(value) => {
              link.setRange(undefined);
              link.setX(undefined);
              setAxis(value);
            }}
          />
          <CheckField label={words().log} isChecked={isLog()} onChange={setIsLog} />
        </div>
      </div>
      <Chart
        {...shared()}
        label={words().loss}
        summary={lossSummary()}
        series={loss()}
        yLabel={words().loss}
        height={260}
        fileName={fileName("loss")}
      />
      <div class="columns live-settings">
        <Slider
          label={words().smoothing}
          value={weight()}
          min={0}
          max={0.99}
          step={0.01}
          shown={weight() === 0 ? words().smoothingOff : weight().toFixed(2)}
          onInput={(value) => {
            setWeight(value);
            writeSetting("smoothing", value);
          }}
        />
        <p class="small quiet">{words().hint}</p>
      </div>
      <div class="live-pair">
        <Chart
          {...shared()}
          label={words().gradNorm}
          summary={summary(words().gradNorm, live.report().latest?.gradNorm)}
          series={gradNorm()}
          yLabel={words().gradNorm}
          height={170}
          fileName={fileName("gradient-norm")}
        />
        <Chart
          {...shared()}
          label={words().learningRate}
          summary={summary(words().learningRate, live.report().latest?.learningRate)}
          series={learningRate()}
          yLabel={words().learningRate}
          height={170}
          fileName={fileName("learning-rate")}
        />
      </div>
    </section>
  );

  function lossSummary(): string {
    const { loss: values } = live.report().curves;
    const [first, last] = [values[0], values.at(-1)];
    if (first === undefined || last === undefined) return words().noSummary;
    return words().lossSummary(formatValue(first), formatValue(last), formatCount(values.length));
  }

  function summary(name: string, last: number | undefined): string {
    return last === undefined ? words().noSummary : words().plainSummary(name, formatValue(last));
  }

  function fileName(what: string): string {
    return `${live.record()?.name ?? "run"}-${what}`;
  }
}
