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
  /** A line that the next one replaces, at most ten times a second; undefined takes it away. */
  status(line: string | undefined): void;
}

const REDRAW_MS = 100;
const CLEAR_LINE = "\r\u001b[2K";

export function createOutput(isJson: boolean): Output {
  const isLive = canRedraw(process.stderr);
  let shown = "";
  let drawnAt = -REDRAW_MS;
  const clear = () => {
    if (shown !== "") process.stderr.write(CLEAR_LINE);
    shown = "";
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
      if (line === undefined) clear();
      else if (isLive && performance.now() - drawnAt >= REDRAW_MS) {
        drawnAt = performance.now();
        process.stderr.write(`${CLEAR_LINE}${line}`);
        shown = line;
      }
    },
  };
}
