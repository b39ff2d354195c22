// One chart drawn by uPlot: curves thinned out to the range in view, colors taken from the page's tokens.
//
// It holds no state of its own but what is drawn; range and cursor are told to it and asked of it.
import uPlot from "uplot";
import {
  type Curve,
  extentOf,
  formatValue,
  lineUp,
  logTicks,
  moveRange,
  nearestX,
  type Range,
  thinOut,
  zoomRange,
} from "./chart-data.ts";

/** A curve and how it looks. Never by color alone: give neighbors different dashes or widths. */
export interface ChartSeries extends Curve {
  readonly color: SeriesColor;
  readonly isDashed?: boolean;
  /** CSS pixels; 1.5, if not given. */
  readonly width?: number;
  /** Few values, drawn with a mark at each; off its marks it reads as its last one. */
  readonly isSparse?: boolean;
}

export type SeriesColor = "accent" | "second" | "third" | "fourth" | "quiet";

/** The background's curves are lighter than quiet text. */
const TOKENS: Readonly<Record<SeriesColor, string>> = {
  accent: "accent",
  second: "second",
  third: "third",
  fourth: "fourth",
  quiet: "line-strong",
};

export interface PlotView {
  readonly series: readonly ChartSeries[];
  /** The part in view; undefined is all of it. */
  readonly range: Range | undefined;
  readonly isLog: boolean;
  readonly formatX: (x: number) => string;
}

export interface PlotActions {
  /** The x of a point under the mouse; undefined when it leaves. */
  onCursor(x: number | undefined): void;
  /** A part was chosen or moved to; undefined is all of it. */
  onRange(range: Range | undefined): void;
}

export interface Plot {
  draw(view: PlotView): void;
  /** Puts the cursor's line at `x`. */
  point(x: number | undefined): void;
  resize(width: number, height: number): void;
  /** Takes the colors anew and draws again. */
  recolor(): void;
  /** What is drawn, on the page's own ground. */
  picture(): HTMLCanvasElement;
  free(): void;
}

// Of uPlot's ways to spread values. Its enum is ambient, so a module by itself cannot name its members.
// oxlint-disable-next-line typescript/no-unsafe-enum-assignment
const LOGARITHMIC = 3 as uPlot.Scale.Distr;

// More than a wide screen has pixels would only be drawn over.
const POINTS_PER_CURVE = 1500;

// Steps and tokens are counted in whole numbers: 1, 2, 5, 10, 20 … up to 5 · 10¹¹.
const WHOLE_STEPS = Array.from({ length: 12 }, (_, power) =>
  [1, 2, 5].map((n) => n * 10 ** power),
).flat();

export function createPlot(host: HTMLElement, actions: PlotActions): Plot {
  const colors = createColors(host);
  let view: PlotView | undefined;
  let plot: uPlot | undefined;
  let shape = "";
  let mouseX: number | undefined;

  const onSetCursor = (u: uPlot) => {
    if (!view) return;
    const left = u.cursor.left ?? -1;
    mouseX = left < 0 ? undefined : nearestX(view.series, u.posToVal(left, "x"));
    actions.onCursor(mouseX);
  };
  const build = (next: PlotView) => {
    plot?.destroy();
    const options = optionsOf(next, colors, {
      actions,
      onSetCursor,
      formatX: (x) => view?.formatX(x) ?? "",
    });
    const [width, height] = [Math.max(host.clientWidth, 100), Math.max(host.clientHeight, 80)];
    plot = new uPlot({ ...options, width, height }, [[], ...next.series.map(() => [])], host);
    listen(plot, () => view, actions);
  };
  return {
    draw(next) {
      const nextShape = shapeOf(next);
      view = next;
      if (nextShape !== shape) build(next);
      shape = nextShape;
      const range = next.range ?? extentOf(next.series);
      if (!plot || !range) return;
      const shown = plot;
      // On a logarithmic axis only what is above 0 has a place.
      const above = next.isLog ? 0 : Number.NEGATIVE_INFINITY;
      const thin = next.series.map((curve) => thinOut(curve, range, POINTS_PER_CURVE, above));
      const { x, ys } = lineUp(thin);
      shown.batch(() => {
        shown.setData([x, ...ys], false);
        shown.setScale(
          "x",
          range.max > range.min ? range : { min: range.min - 1, max: range.max + 1 },
        );
      });
    },
    point(x) {
      // Where the mouse is already, the line stays under it.
      if (!plot || (x !== undefined && x === mouseX)) return;
      plot.setCursor({ left: x === undefined ? -10 : plot.valToPos(x, "x"), top: 0 }, false);
    },
    resize(width, height) {
      if (plot && width > 0) plot.setSize({ width, height });
    },
    recolor() {
      colors.read();
      plot?.redraw();
    },
    picture: () => paintOnGround(plot, colors),
    free: () => plot?.destroy(),
  };
}

/** What a plot is built for; data, range and formats may change under it. */
function shapeOf({ series, isLog }: PlotView): string {
  const looks = series.map(({ color, isDashed, width, isSparse }) => [
    color,
    isDashed,
    width,
    isSparse,
  ]);
  return JSON.stringify([looks, isLog]);
}

type Colors = ReturnType<typeof createColors>;

/** The tokens as the canvas wants them: resolved by the browser for the theme of the moment. */
function createColors(host: HTMLElement) {
  const resolved = new Map<string, string>();
  const probe = document.createElement("span");
  const read = (name: string): string => {
    probe.style.color = `var(--${name})`;
    host.append(probe);
    const { color } = getComputedStyle(probe);
    probe.remove();
    return color;
  };
  return {
    of(name: string): string {
      const color = resolved.get(name) ?? read(name);
      resolved.set(name, color);
      return color;
    },
    read: () => resolved.clear(),
  };
}

interface Wiring {
  readonly actions: PlotActions;
  readonly onSetCursor: (u: uPlot) => void;
  readonly formatX: (x: number) => string;
}

function optionsOf(
  view: PlotView,
  colors: Colors,
  wiring: Wiring,
): Omit<uPlot.Options, "width" | "height"> {
  const axis = {
    stroke: () => colors.of("quiet"),
    grid: { stroke: () => colors.of("line"), width: 1 },
    ticks: { show: false },
    font: fontOf(document.documentElement),
  };
  return {
    legend: { show: false },
    padding: [8, 20, 0, 0],
    scales: {
      x: { time: false },
      y: view.isLog ? { distr: LOGARITHMIC, range: (_, min, max) => logRange(min, max) } : {},
    },
    axes: [
      {
        ...axis,
        size: 28,
        incrs: WHOLE_STEPS,
        values: (_, ticks) => ticks.map((x) => wiring.formatX(x)),
      },
      {
        ...axis,
        size: 58,
        values: (_, ticks) => ticks.map((y) => formatValue(y)),
        ...(view.isLog && {
          splits: (_: uPlot, __: number, min: number, max: number) => logTicks({ min, max }),
          filter: (_: uPlot, ticks: number[]) => ticks,
        }),
      },
    ],
    series: [{}, ...view.series.map((series) => seriesOf(series, colors))],
    cursor: {
      y: false,
      drag: { setScale: false, x: true, y: false },
      points: { size: 7 },
      bind: {
        // Moving along is ours (see `listen`); so is going back to all of it.
        mousedown: (_, __, handle) => (event: MouseEvent) => {
          if (!event.shiftKey) handle(event);
          return null;
        },
        dblclick: () => () => {
          wiring.actions.onRange(undefined);
          return null;
        },
      },
    },
    hooks: {
      setCursor: [wiring.onSetCursor],
      setSelect: [
        (u) => {
          const { left, width } = u.select;
          if (width < 4) return;
          wiring.actions.onRange({
            min: u.posToVal(left, "x"),
            max: u.posToVal(left + width, "x"),
          });
          u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        },
      ],
    },
  };
}

function seriesOf(series: ChartSeries, colors: Colors): uPlot.Series {
  const color = () => colors.of(TOKENS[series.color]);
  return {
    stroke: color,
    width: series.width ?? 1.5,
    ...(series.isDashed && { dash: [5, 4] }),
    points: series.isSparse
      ? { show: true, size: 7, stroke: color, fill: color }
      : // A curve of one point would not be seen.
        { show: (u, i) => (u.data[i]?.length ?? 0) < 2, size: 6, stroke: color, fill: color },
  };
}

/** A little air above and below; never nothing. */
function logRange(min: number | null, max: number | null): [number, number] {
  const [low, high] = [min ?? 1, max ?? 10];
  const factor = Math.max((high / low) ** 0.05, 1.02);
  return [low / factor, high * factor];
}

function fontOf(element: HTMLElement): string {
  return `12px ${getComputedStyle(element).fontFamily}`;
}

/** Shift and drag, or a sideways wheel, move along; the pinch of a touchpad comes closer. */
function listen(plot: uPlot, view: () => PlotView | undefined, actions: PlotActions): void {
  const { over } = plot;
  const move = (range: Range, byPixels: number) => {
    const shift = (byPixels / over.clientWidth) * (range.max - range.min);
    const all = extentOf(view()?.series ?? []);
    if (all) actions.onRange(moveRange(range, shift, all));
  };
  over.addEventListener("mousedown", (event) => {
    const range = view()?.range;
    if (!event.shiftKey || !range) return;
    const from = event.clientX;
    const follow = (moved: MouseEvent) => move(range, from - moved.clientX);
    addEventListener("mousemove", follow);
    addEventListener("mouseup", () => removeEventListener("mousemove", follow), { once: true });
  });
  over.addEventListener(
    "wheel",
    (event) => {
      const range = view()?.range;
      if (event.ctrlKey) {
        event.preventDefault();
        const all = extentOf(view()?.series ?? []);
        const center = plot.posToVal(plot.cursor.left ?? 0, "x");
        if (all)
          actions.onRange(zoomRange(range ?? all, event.deltaY > 0 ? 1.25 : 0.8, center, all));
      } else if (range && Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        event.preventDefault();
        move(range, event.deltaX);
      }
    },
    { passive: false },
  );
}

function paintOnGround(plot: uPlot | undefined, colors: Colors): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  const drawn = plot?.ctx.canvas;
  if (!drawn) return canvas;
  canvas.width = drawn.width;
  canvas.height = drawn.height;
  const context = canvas.getContext("2d");
  if (context) {
    context.fillStyle = colors.of("surface");
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(drawn, 0, 0);
  }
  return canvas;
}
