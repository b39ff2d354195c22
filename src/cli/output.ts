// Where a command's words go: what it was run for to stdout, everything else to stderr.
//
// With --json stdout carries events alone, one JSON object a line, and the product is one of them.
import { canRedraw, createPaint, lineWidth, type Paint } from "./terminal.ts";

export interface Output {
  readonly isJson: boolean;
  /** Whether `status` shows anything. */
  readonly isLive: boolean;
  /** Columns of a line on stderr. */
  readonly columns: number;
  /** Colors for stderr. */
  readonly paint: Paint;
  /** A line for the person, on stderr. */
  say(line: string): void;
  /** What the command was run for, as it stands, on stdout; nothing with --json. */
  print(text: string): void;
  /** One JSON line on stdout; nothing without --json. Numbers that are not finite become null. */
  emit(type: string, fields: object): void;
  /** A line that the next one replaces, drawn ten times a second at most; undefined takes it away. */
  status(line: string | undefined): void;
}

const REDRAW_MS = 100;
const CLEAR_LINE = "\r\u001b[2K";

export function createOutput(isJson: boolean): Output {
  const isLive = canRedraw(process.stderr);
  let shown = "";
  let drawnAt = -REDRAW_MS;
  let waiting: NodeJS.Timeout | undefined;
  const forget = () => {
    clearTimeout(waiting);
    waiting = undefined;
  };
  const clear = () => {
    forget();
    if (shown !== "") process.stderr.write(CLEAR_LINE);
    shown = "";
  };
  const draw = (line: string) => {
    forget();
    drawnAt = performance.now();
    process.stderr.write(`${CLEAR_LINE}${line}`);
    shown = line;
  };
  return {
    isJson,
    isLive,
    columns: lineWidth(process.stderr),
    paint: createPaint(process.stderr),
    say(line) {
      clear();
      process.stderr.write(`${line}\n`);
    },
    print(text) {
      clear();
      if (!isJson) process.stdout.write(text);
    },
    emit(type, fields) {
      if (isJson) process.stdout.write(`${JSON.stringify({ type, ...fields })}\n`);
    },
    status(line) {
      if (line === undefined) return clear();
      if (!isLive) return;
      forget();
      const waitMs = drawnAt + REDRAW_MS - performance.now();
      // What it says may stand for minutes: the last line is drawn too.
      if (waitMs > 0) waiting = setTimeout(draw, waitMs, line).unref();
      else draw(line);
    },
  };
}
