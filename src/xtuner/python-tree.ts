// A config's text as a syntax tree, or a refusal with the line where it stops being Python.
import type { SyntaxNode, Tree } from "@lezer/common";
import { parser } from "@lezer/python";
import { UsageError } from "../base/error.ts";
import { withPlainLines } from "../data/python-literal.ts";

// XTuner's own configs have 5 to 15 thousand characters.
const MOST_CHARACTERS = 1 << 18;
const MOST_MS = 4000;

/** Nested deeper than this, an expression is no setting. It also bounds the evaluator's own depth. */
const MOST_DEPTH = 250;

export interface PythonTree {
  readonly top: SyntaxNode;
  /** 1-based line of a place in the text. */
  lineAt(offset: number): number;
  textOf(node: SyntaxNode): string;
}

export function parsePython(given: string, place: string): PythonTree {
  // Editors on Windows begin files with a mark, which Python skips.
  const text = withPlainLines(given.replace(/^\uFEFF/, ""));
  if (text.length > MOST_CHARACTERS) {
    throw new UsageError(
      `${place} has ${text.length} characters; a config has at most ${MOST_CHARACTERS}.`,
      "Check the path: this looks like another kind of file.",
    );
  }
  const lineAt = lineCounter(text);
  const tree = parse(text, place, lineAt);
  let depth = 0;
  tree.iterate({
    enter: ({ type, from }) => {
      if (type.isError) throw notPython(place, lineAt(from));
      depth++;
      if (depth > MOST_DEPTH) {
        throw new UsageError(
          `${place}, line ${lineAt(from)} is nested deeper than ${MOST_DEPTH} levels.`,
          "Write it flatter.",
        );
      }
    },
    leave: () => {
      depth--;
    },
  });
  return { top: tree.topNode, lineAt, textOf: (node) => text.slice(node.from, node.to) };
}

/** A node's children without comments. */
export function childrenOf(node: SyntaxNode): SyntaxNode[] {
  const children: SyntaxNode[] = [];
  for (let child = node.firstChild; child !== null; child = child.nextSibling) {
    if (child.name !== "Comment") children.push(child);
  }
  return children;
}

// Where the grammar fails it stops: its own way of going on takes seconds on garbage.
const STRICT = parser.configure({ strict: true });

function parse(text: string, place: string, lineAt: (offset: number) => number): Tree {
  const parsing = STRICT.startParse(text);
  const deadline = performance.now() + MOST_MS;
  for (;;) {
    try {
      const tree = parsing.advance();
      if (tree !== null) return tree;
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      throw notPython(place, lineAt(parsing.parsedPos));
    }
    if (performance.now() > deadline) throw notPython(place, lineAt(parsing.parsedPos));
  }
}

function notPython(place: string, line: number): UsageError {
  return new UsageError(
    `${place}, line ${line} is not Python that Hone can read.`,
    "Correct that line; look for a bracket, quote or comma too few or too many before it.",
  );
}

function lineCounter(text: string): (offset: number) => number {
  const starts = [0];
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
  return (offset) => {
    let low = 0;
    let high = starts.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((starts[middle] ?? 0) <= offset) low = middle;
      else high = middle;
    }
    return low + 1;
  };
}
