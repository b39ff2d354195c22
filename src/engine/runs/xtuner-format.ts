// Numbers, times and lines as mmengine 0.10.3 and Python write them.

/** "{x:.4f}". A tie goes to the even digit, where toFixed goes up: only odd multiples of 1/32 are ties. */
export function formatFixed(value: number): string {
  if (!Number.isFinite(value)) return formatOdd(value);
  const isTie = Math.abs((value * 32) % 2) === 1;
  if (!isTie) return value.toFixed(4);
  const floor = Math.floor(value * 1e4);
  return ((floor + Math.abs(floor % 2)) / 1e4).toFixed(4);
}

/** "{x:.4e}": at least two digits of the exponent. */
export function formatScientific(value: number): string {
  if (!Number.isFinite(value)) return formatOdd(value);
  return withLongExponent(value.toExponential(4));
}

/** A float as repr() and json.dumps write it; null where JSON has no word for it. */
export function formatJsonFloat(value: number): string {
  if (!Number.isFinite(value)) return "null";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e16)) return withLongExponent(shortest(value));
  return Number.isInteger(value) ? `${value}.0` : String(value);
}

/** str(timedelta(seconds=int(seconds))): "0:00:27", "1 day, 2:03:04". */
export function formatTimedelta(seconds: number): string {
  if (!Number.isFinite(seconds)) return "0:00:00";
  const whole = Math.max(0, Math.trunc(seconds));
  const days = Math.floor(whole / 86_400);
  const hours = Math.floor(whole / 3600) % 24;
  const clock = `${hours}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
  if (days === 0) return clock;
  return `${days} day${days === 1 ? "" : "s"}, ${clock}`;
}

/** "20240412_115711": the name of a run's folder of logs. */
export function formatStamp(time: Date): string {
  return `${time.getFullYear()}${dayOf(time, "")}_${clockOf(time, "")}`;
}

/** "04/12 11:57:11" on the console, "2024/04/12 11:57:11" in the file. */
export function formatTime(time: Date, place: "console" | "file"): string {
  const year = place === "file" ? `${time.getFullYear()}/` : "";
  return `${year}${dayOf(time, "/")} ${clockOf(time, ":")}`;
}

export type Level = "INFO" | "WARNING";

export function formatLine(level: Level, message: string, time: string): string {
  return `${time} - mmengine - ${level} - ${message}`;
}

/** What one line tells; means where mmengine takes them. */
export interface IterationFigures {
  /** 1-based, of `total`. */
  readonly iteration: number;
  readonly total: number;
  readonly learningRate: number;
  readonly etaSeconds: number;
  readonly time: number;
  readonly dataTime: number;
  readonly memoryMib: number;
  readonly loss: number;
  /** Undefined until the optimizer has stepped. */
  readonly gradNorm: number | undefined;
  /** Whether the norm is told before the loss, as it is where the first iteration has one. */
  readonly normFirst: boolean;
}

/** "Iter(train) [720/768]  lr: 2.1272e-06  eta: 0:00:27  time: …  loss: 0.0103  grad_norm: 0.0123". */
export function formatIteration(figures: IterationFigures): string {
  const { iteration, total, gradNorm, normFirst } = figures;
  const loss = `loss: ${formatFixed(figures.loss)}`;
  const norm = gradNorm === undefined ? [] : [`grad_norm: ${formatFixed(gradNorm)}`];
  return [
    `Iter(train) [${String(iteration).padStart(String(total).length)}/${total}]`,
    `lr: ${formatScientific(figures.learningRate)}`,
    `eta: ${formatTimedelta(figures.etaSeconds)}`,
    `time: ${formatFixed(figures.time)}`,
    `data_time: ${formatFixed(figures.dataTime)}`,
    `memory: ${figures.memoryMib}`,
    ...(normFirst ? [...norm, loss] : [loss, ...norm]),
  ].join("  ");
}

/** The same as a line of vis_data/scalars.json. */
export function formatScalars(figures: IterationFigures): string {
  const { iteration, gradNorm, normFirst } = figures;
  const norm: [string, number][] = gradNorm === undefined ? [] : [["grad_norm", gradNorm]];
  const floats: [string, number][] = [
    ["lr", figures.learningRate],
    ["data_time", figures.dataTime],
    ...(normFirst ? norm : []),
    ["loss", figures.loss],
    ["time", figures.time],
    ...(normFirst ? [] : norm),
  ];
  const fields = [
    ...floats.map(([key, value]) => `"${key}": ${formatJsonFloat(value)}`),
    `"iter": ${iteration}`,
    `"memory": ${figures.memoryMib}`,
    `"step": ${iteration}`,
  ];
  return `{${fields.join(", ")}}`;
}

function formatOdd(value: number): string {
  if (Number.isNaN(value)) return "nan";
  return value > 0 ? "inf" : "-inf";
}

/** The fewest digits that read back to the value, as "8.2e-5". */
function shortest(value: number): string {
  return value.toExponential();
}

function withLongExponent(text: string): string {
  const [digits = "", exponent = "+0"] = text.split("e");
  return `${digits}e${exponent.charAt(0)}${exponent.slice(1).padStart(2, "0")}`;
}

function dayOf(time: Date, between: string): string {
  return [two(time.getMonth() + 1), two(time.getDate())].join(between);
}

function clockOf(time: Date, between: string): string {
  return [two(time.getHours()), two(time.getMinutes()), two(time.getSeconds())].join(between);
}

function two(count: number): string {
  return String(count).padStart(2, "0");
}
