// Rows of a data set on the screen or in a pipe: banners as XTuner prints them, texts with what is learned.
import type { Segment } from "../engine/datasets/dataset-view.ts";
import type { Paint } from "./terminal.ts";
import { visible } from "./visible.ts";

/** "####################   text   ####################" */
export function banner(title: string): string {
  const side = "#".repeat(20);
  return `${side}   ${title}   ${side}\n`;
}

/** As Python prints a list of numbers. */
export function listOf(numbers: ArrayLike<number>): string {
  return `[${Array.from(numbers).join(", ")}]\n`;
}

/** A text for a terminal, which must not obey it, or as it is for a pipe. */
export function asText(text: string, isTerminal: boolean): string {
  return `${isTerminal ? visible(text) : text}\n`;
}

/**
 * What is learned, in its order: green on a terminal with colors, the rest dim. Elsewhere each run has a
 * line of its own with a mark and its number of tokens, and its line breaks are shown as ↵ too.
 */
export function maskedText(segments: readonly Segment[], paint: Paint, hasColors: boolean): string {
  if (hasColors) {
    const texts = segments.map(({ isLearned, text }) =>
      paintLines(visible(text), isLearned ? paint.green : paint.dim),
    );
    return `${texts.join("")}\n`;
  }
  return segments
    .map(({ isLearned, tokens, text }) => {
      const mark = isLearned ? `[learned ×${tokens}]` : `[-100 ×${tokens}]`;
      return `${mark} ${visible(text).replaceAll("\n", "↵\n")}\n`;
    })
    .join("");
}

/** Each line by itself, since a pager forgets colors at a line's end. */
function paintLines(text: string, style: (text: string) => string): string {
  return text
    .split("\n")
    .map((line) => (line === "" ? "" : style(line)))
    .join("\n");
}
