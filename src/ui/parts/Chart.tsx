// A chart of curves: hover or arrow keys read off all values, dragging zooms, and it goes out as PNG and CSV.
//
// Charts that share a link show the same part and the same point. Curves may grow in place: give new series
// objects over the same arrays to have them drawn.
import "uplot/dist/uPlot.min.css";
import "./chart.css";
import {
  createEffect,
  createMemo,
  createSignal,
  createUniqueId,
  For,
  on,
  onCleanup,
  onMount,
  Show,
} from "solid-js";
import { saveFile } from "../save-file.ts";
import { useSession, useText } from "../session.ts";
import { Button } from "./Button.tsx";
import {
  extentOf,
  formatValue,
  moveRange,
  moveX,
  type Range,
  toCsv,
  valueAt,
  zoomRange,
} from "./chart-data.ts";
import { type ChartSeries, createPlot, type Plot } from "./chart-plot.ts";

export type { ChartSeries, SeriesColor } from "./chart-plot.ts";

/** The point and the part that charts show together. */
export interface ChartLink {
  readonly x: () => number | undefined;
  setX(x: number | undefined): void;
  readonly range: () => Range | undefined;
  setRange(range: Range | undefined): void;
}

export function createChartLink(): ChartLink {
  const [x, setX] = createSignal<number>();
  const [range, setRange] = createSignal<Range>();
  return { x, setX, range, setRange };
}

export interface ChartProps {
  readonly label: string;
  /** What the curves show, in a sentence or two, for those who do not see them. */
  readonly summary: string;
  readonly series: readonly ChartSeries[];
  readonly xLabel: string;
  readonly yLabel: string;
  readonly isLog?: boolean;
  /** CSS pixels; 220, if not given. */
  readonly height?: number;
  readonly formatX?: (x: number) => string;
  readonly formatY?: (y: number | null) => string;
  readonly link?: ChartLink;
  /** Of the PNG and the CSV, without their endings; the label, if not given. */
  readonly fileName?: string;
  readonly onHover?: (x: number | undefined) => void;
}

// Growing curves are drawn no oftener than this.
const REDRAW_MS = 250;

export function Chart(props: ChartProps) {
  const text = useText();
  const own = createChartLink();
  const link = () => props.link ?? own;
  const formatX = (x: number) => (props.formatX ?? formatValue)(x);
  const formatY = (y: number | null) => (props.formatY ?? formatValue)(y);
  const summaryId = createUniqueId();
  const isEmpty = createMemo(() => extentOf(props.series) === undefined);
  // The cursor's values, or the last ones where there is no cursor.
  const read = (series: ChartSeries): number | null => {
    const x = link().x() ?? Number.POSITIVE_INFINITY;
    const last = series.x[series.x.length - 1] ?? 0;
    return !series.isSparse && Number.isFinite(x) && x > last ? null : valueAt(series, x);
  };
  const spoken = () => {
    const x = link().x() ?? extentOf(props.series)?.max;
    if (x === undefined) return text().live.chart.empty;
    const values = props.series.map((series) => `${series.name} ${formatY(read(series))}`);
    return `${props.xLabel} ${formatX(x)}: ${values.join(", ")}`;
  };
  let plot: Plot | undefined;

  return (
    <figure class="chart">
      <figcaption class="chart-head">
        <strong>{props.label}</strong>
        <Show when={!isEmpty()}>
          <ChartTools {...props} link={link()} picture={() => plot?.picture()} />
        </Show>
      </figcaption>
      <ul class="chart-legend">
        <For each={props.series}>
          {(series) => (
            <li>
              <Swatch series={series} />
              <span class="chart-name">{series.name}</span>
              <span class="numeric">{formatY(read(series))}</span>
            </li>
          )}
        </For>
        <Show when={link().x()}>
          {(x) => (
            <li class="chart-x numeric">
              {props.xLabel} {formatX(x())}
            </li>
          )}
        </Show>
      </ul>
      <div
        class="chart-place"
        style={{ height: `${props.height ?? 220}px` }}
        tabindex="0"
        role="slider"
        aria-label={text().live.chart.point(props.label)}
        aria-describedby={summaryId}
        aria-valuemin={extentOf(props.series)?.min ?? 0}
        aria-valuemax={extentOf(props.series)?.max ?? 0}
        aria-valuenow={link().x() ?? extentOf(props.series)?.max ?? 0}
        aria-valuetext={spoken()}
        onKeyDown={(event) => steer(event, props.series, link())}
        onBlur={() => link().setX(undefined)}
      >
        <div
          class="chart-plot"
          ref={(host) => onMount(() => (plot = mountPlot(host, props, link, formatX)))}
        />
        <Show when={isEmpty()}>
          <p class="chart-empty">{text().live.chart.empty}</p>
        </Show>
      </div>
      <p class="visually-hidden" id={summaryId}>
        {props.summary} {text().live.chart.keys}
      </p>
    </figure>
  );
}

/** Keeps a plot as the props and the link say, for as long as the component lives. */
function mountPlot(
  host: HTMLElement,
  props: ChartProps,
  link: () => ChartLink,
  formatX: (x: number) => string,
): Plot {
  const { app } = useSession();
  const plot = createPlot(host, {
    onCursor: (x) => link().setX(x),
    onRange: (range) => link().setRange(range),
  });
  const drawing = createPacer(() => {
    const { series, isLog = false } = props;
    plot.draw({ series, range: link().range(), isLog, formatX });
    plot.point(link().x());
  });
  createEffect(
    on(
      () => props.series,
      () => drawing.soon(),
    ),
  );
  createEffect(
    on([() => link().range(), () => props.isLog, () => props.formatX], () => drawing.now()),
  );
  createEffect(
    on(
      () => link().x(),
      (x) => {
        plot.point(x);
        props.onHover?.(x);
      },
    ),
  );
  // The page's theme is put on the root element by an effect of its own; it is read a frame later.
  const recolor = () => requestAnimationFrame(() => plot.recolor());
  createEffect(on(app.theme, recolor, { defer: true }));
  const systemTheme = matchMedia("(prefers-color-scheme: dark)");
  systemTheme.addEventListener("change", recolor);
  const resizing = new ResizeObserver(() => plot.resize(host.clientWidth, host.clientHeight));
  resizing.observe(host);
  onCleanup(() => {
    drawing.cancel();
    systemTheme.removeEventListener("change", recolor);
    resizing.disconnect();
    plot.free();
  });
  return plot;
}

/** Calls in a frame: at the next one, or where that is enough, `REDRAW_MS` after the last one. */
function createPacer(call: () => void) {
  let frame = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let last = Number.NEGATIVE_INFINITY;
  const now = () => {
    clearTimeout(timer);
    timer = undefined;
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(() => {
      last = performance.now();
      call();
    });
  };
  return {
    now,
    soon() {
      timer ??= setTimeout(now, Math.max(0, last + REDRAW_MS - performance.now()));
    },
    cancel() {
      clearTimeout(timer);
      cancelAnimationFrame(frame);
    },
  };
}

function ChartTools(
  props: ChartProps & {
    readonly link: ChartLink;
    readonly picture: () => HTMLCanvasElement | undefined;
  },
) {
  const text = useText();
  const name = () => props.fileName ?? props.label;
  const savePicture = () =>
    props.picture()?.toBlob((blob) => {
      if (blob) saveFile(blob, `${name()}.png`);
    });
  const saveNumbers = () =>
    saveFile(new Blob([toCsv(props.xLabel, props.series)], { type: "text/csv" }), `${name()}.csv`);
  return (
    <div class="chart-tools">
      <Show when={props.link.range()}>
        <Button kind="subtle" onClick={() => props.link.setRange(undefined)}>
          {text().live.chart.showAll}
        </Button>
      </Show>
      <Button kind="subtle" onClick={savePicture} aria-label={text().live.chart.png(props.label)}>
        PNG
      </Button>
      <Button kind="subtle" onClick={saveNumbers} aria-label={text().live.chart.csv(props.label)}>
        CSV
      </Button>
    </div>
  );
}

function Swatch(props: { readonly series: ChartSeries }) {
  return (
    <svg class={`chart-swatch is-${props.series.color}`} viewBox="0 0 22 10" aria-hidden="true">
      <line
        x1="1"
        x2="21"
        y1="5"
        y2="5"
        stroke="currentColor"
        stroke-width={(props.series.width ?? 1.5) + 0.5}
        stroke-dasharray={props.series.isDashed ? "5 3" : undefined}
      />
      <Show when={props.series.isSparse}>
        <circle cx="11" cy="5" r="3.5" fill="currentColor" />
      </Show>
    </svg>
  );
}

/** Arrows go from point to point, + and − zoom, 0 shows all of it. */
function steer(event: KeyboardEvent, series: readonly ChartSeries[], link: ChartLink): void {
  const all = extentOf(series);
  if (!all || event.altKey || event.ctrlKey || event.metaKey) return;
  const x = link.x();
  const range = link.range() ?? all;
  const many = Math.max(
    1,
    Math.round((Math.max(...series.map((curve) => curve.x.length)) || 1) / 20),
  );
  const go = (count: number) => {
    const next = moveX(series, x, count);
    link.setX(next);
    if (next !== undefined && (next < range.min || next > range.max)) {
      link.setRange(moveRange(range, next < range.min ? next - range.min : next - range.max, all));
    }
  };
  const zoom = (factor: number) =>
    link.setRange(zoomRange(range, factor, x ?? (range.min + range.max) / 2, all));
  const actions: Readonly<Record<string, () => void>> = {
    ArrowLeft: () => go(event.shiftKey ? -many : -1),
    ArrowRight: () => go(event.shiftKey ? many : 1),
    PageDown: () => go(-many),
    PageUp: () => go(many),
    Home: () => go(Number.NEGATIVE_INFINITY),
    End: () => go(Number.POSITIVE_INFINITY),
    "+": () => zoom(0.5),
    "=": () => zoom(0.5),
    "-": () => zoom(2),
    "0": () => link.setRange(undefined),
    Escape: () => link.setX(undefined),
  };
  const action = actions[event.key];
  if (!action) return;
  event.preventDefault();
  action();
}
