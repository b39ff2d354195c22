// Files of one JSON value a line, and where their lines begin, so that any few of many can be read.
import type { Folder } from "../base/folder.ts";

/** Places of some lines: `offsets[i]` is the first byte of line `lines[i]`. Both begin with 0. */
export interface LineIndex {
  readonly count: number;
  readonly bytes: number;
  readonly lines: readonly number[];
  readonly offsets: readonly number[];
}

// Whoever reads a line reads what lies between two marks.
const MARK_LINES = 64;
const MARK_BYTES = 1 << 16;

const CHUNK_BYTES = 1 << 18;

export interface LineWriter {
  /** Adds a line; returns a chunk to write now and then. `text` holds no line end. */
  add(text: string): Uint8Array | undefined;
  /** What is left to write. */
  end(): Uint8Array;
  index(): LineIndex;
}

export function createLineWriter(): LineWriter {
  const encoder = new TextEncoder();
  const lines: number[] = [];
  const offsets: number[] = [];
  let pieces: Uint8Array[] = [];
  let waiting = 0;
  let count = 0;
  let bytes = 0;
  const join = (): Uint8Array => {
    const joined = new Uint8Array(waiting);
    let at = 0;
    for (const piece of pieces) {
      joined.set(piece, at);
      at += piece.length;
    }
    pieces = [];
    waiting = 0;
    return joined;
  };
  return {
    add(text) {
      const isFar = count - (lines.at(-1) ?? 0) >= MARK_LINES;
      if (count === 0 || isFar || bytes - (offsets.at(-1) ?? 0) >= MARK_BYTES) {
        lines.push(count);
        offsets.push(bytes);
      }
      const line = encoder.encode(`${text}\n`);
      pieces.push(line);
      waiting += line.length;
      bytes += line.length;
      count++;
      return waiting >= CHUNK_BYTES ? join() : undefined;
    },
    end: join,
    index: () => ({ count, bytes, lines, offsets }),
  };
}

/** Lines [start, end) of a file; fewer where it has fewer. */
export async function readLines(
  folder: Folder,
  name: string,
  index: LineIndex,
  start: number,
  end: number,
): Promise<string[]> {
  const last = Math.min(end, index.count);
  if (start >= last) return [];
  const from = markBefore(index.lines, start);
  const to = markBefore(index.lines, last - 1) + 1;
  const bytes = await folder.read(name, index.offsets[from], index.offsets[to] ?? index.bytes);
  const first = index.lines[from] ?? 0;
  return new TextDecoder()
    .decode(bytes)
    .split("\n")
    .slice(start - first, last - first);
}

/** The index of the last mark at or before `line`. */
function markBefore(lines: readonly number[], line: number): number {
  return countUpTo(lines, line) - 1;
}

/** How many of the sorted numbers are at most `limit`. */
export function countUpTo(sorted: readonly number[], limit: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] ?? 0) <= limit) low = middle + 1;
    else high = middle;
  }
  return low;
}
