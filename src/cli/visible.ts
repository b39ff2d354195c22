// Text that others wrote, made safe for a terminal: a model or a data file must not move the cursor,
// change colors, set the window's title, or write into the clipboard.

/**
 * The text with its control characters as visible marks (ESC is ␛), but for line breaks and tabs. A
 * carriage return before a line break is no mark. What turns the direction of writing is written out as
 * "U+202E", since it could make a line read as another.
 */
export function visible(text: string): string {
  return text.replaceAll(CONTROLS, (character) => {
    const code = character.charCodeAt(0);
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    if (code === 0x7f) return "\u2421";
    return `<U+${code.toString(16).toUpperCase().padStart(4, "0")}>`;
  });
}

/** Control characters but tab and line feed, and the marks of direction. */
const CONTROLS = /\r(?!\n)|(?![\t\n\r])\p{Cc}|[\u202a-\u202e\u2066-\u2069]/gu;

/**
 * The same for text that comes in pieces: a piece that ends with a carriage return waits for the next,
 * which may begin with the line break.
 */
export function createVisibleStream(): (piece: string) => string {
  let waiting = "";
  return (piece) => {
    const text = waiting + piece;
    waiting = text.endsWith("\r") ? "\r" : "";
    return visible(waiting === "" ? text : text.slice(0, -1));
  };
}
