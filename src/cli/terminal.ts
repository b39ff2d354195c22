// What a stream can show: colors, a line that is drawn again, its width.

type Style = (text: string) => string;

export interface Paint {
  readonly bold: Style;
  readonly dim: Style;
  readonly red: Style;
  readonly green: Style;
  readonly yellow: Style;
}

type Environment = Readonly<Record<string, string | undefined>>;
type Stream = { readonly isTTY?: boolean; readonly columns?: number };

/** Colors where the stream is a terminal. NO_COLOR turns them off, FORCE_COLOR on. */
export function createPaint(stream: Stream, environment: Environment = process.env): Paint {
  const code = (open: number, close: number) => (text: string) =>
    hasColors(stream, environment) ? `\u001b[${open}m${text}\u001b[${close}m` : text;
  return {
    bold: code(1, 22),
    dim: code(2, 22),
    red: code(31, 39),
    green: code(32, 39),
    yellow: code(33, 39),
  };
}

/** Whether `createPaint` gives this stream colors. */
export function hasColors(stream: Stream, environment: Environment = process.env): boolean {
  const forced = environment["FORCE_COLOR"];
  if (forced !== undefined && forced !== "") return forced !== "0" && forced !== "false";
  if (environment["NO_COLOR"]) return false;
  return stream.isTTY === true && environment["TERM"] !== "dumb";
}

/** Whether a line may be drawn over itself. Logs of CI and people without color get plain lines. */
export function canRedraw(stream: Stream, environment: Environment = process.env): boolean {
  const isPlain = ["NO_COLOR", "CI"].some((name) => environment[name]);
  return stream.isTTY === true && environment["TERM"] !== "dumb" && !isPlain;
}

/** Columns for one line: the terminal's (some say 0), and 80 at most, so that lines read the same everywhere. */
export function lineWidth(stream: Stream): number {
  return Math.min(stream.columns || 80, 80);
}

/** Lines of whole words, each of at most `columns`. */
export function wrapWords(text: string, columns: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > columns) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}
