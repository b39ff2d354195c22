// The losses of several runs in one chart.
import { createMemo, createSignal, Show } from "solid-js";
import type { RunHistory } from "../../services/api.ts";
import { Chart, type ChartSeries, type SeriesColor } from "../parts/Chart.tsx";
import { formatValue, smooth } from "../parts/chart-data.ts";
import { CheckField, Segments } from "../parts/Fields.tsx";
import { useText } from "../session.ts";
import type { ComparedRun } from "./RunsCompare.tsx";

type What = "loss" | "heldOut";
type Axis = "steps" | "tokens";

// As on the Live screen: a spike is seen, and the trend through it.
const SMOOTHING = 0.9;

/** One for each run; every other one is dashed, so that they differ without colors too. */
const LOOKS: readonly { readonly color: SeriesColor; readonly isDashed: boolean }[] = [
  { color: "accent", isDashed: false },
  { color: "second", isDashed: true },
  { color: "third", isDashed: false },
  { color: "fourth", isDashed: true },
];

export function RunsCurves(props: { readonly runs: readonly ComparedRun[] }) {
  const text = useText();
  const words = () => text().library.runs.compare;
  const [what, setWhat] = createSignal<What>("loss");
  const [axis, setAxis] = createSignal<Axis>("steps");
  const [isLog, setIsLog] = createSignal(false);
  const [isSmooth, setIsSmooth] = createSignal(true);
  const series = createMemo(() =>
    props.runs.map(({ run, history }, i): ChartSeries => {
      const look = LOOKS[i % LOOKS.length] ?? { color: "quiet", isDashed: false };
      const curve =
        what() === "loss" ? lossCurve(history, axis(), isSmooth()) : heldOutCurve(history, axis());
      return { name: run.name, ...look, ...curve, width: 2, isSparse: what() === "heldOut" };
    }),
  );
  const label = () => (what() === "loss" ? words().loss : words().heldOut);
  const summary = () =>
    series()
      .map(({ name, y }) => `${name}: ${formatValue(y[y.length - 1] ?? null)}`)
      .join("; ");
  const isEmpty = () => series().every(({ x }) => x.length === 0);
  return (
    <section class="stack tight" aria-labelledby="runs-curves">
      <h2 id="runs-curves">{words().curves}</h2>
      <div class="row runs-controls">
        <Segments
          label={words().what}
          value={what()}
          options={[
            { value: "loss", label: words().loss },
            { value: "heldOut", label: words().heldOut },
          ]}
          onChange={setWhat}
        />
        <Segments
          label={words().x}
          value={axis()}
          options={[
            { value: "steps", label: words().steps },
            { value: "tokens", label: words().tokens },
          ]}
          onChange={setAxis}
        />
        <CheckField label={words().log} isChecked={isLog()} onChange={setIsLog} />
        <Show when={what() === "loss"}>
          <CheckField label={words().smooth} isChecked={isSmooth()} onChange={setIsSmooth} />
        </Show>
      </div>
      <Show when={!isEmpty() || what() === "loss"} fallback={<p>{words().noHeldOut}</p>}>
        <Chart
          label={label()}
          summary={summary()}
          series={series()}
          xLabel={axis() === "steps" ? words().steps : words().tokens}
          yLabel={label()}
          isLog={isLog()}
          height={300}
        />
      </Show>
    </section>
  );
}

type Points = Pick<ChartSeries, "x" | "y">;

function lossCurve({ steps }: RunHistory, axis: Axis, isSmooth: boolean): Points {
  const y = steps.map(({ loss }) => loss);
  return {
    x: steps.map(({ step, tokens }) => (axis === "steps" ? step : tokens)),
    y: isSmooth ? smooth(y, SMOOTHING) : y,
  };
}

/** An evaluation knows its step alone: its tokens are those of that step. */
function heldOutCurve({ evals, steps }: RunHistory, axis: Axis): Points {
  const tokens = new Map(steps.map((report) => [report.step, report.tokens]));
  return {
    x: evals.map(({ step }) => (axis === "steps" ? step : (tokens.get(step) ?? 0))),
    y: evals.map(({ loss }) => loss),
  };
}
