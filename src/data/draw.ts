// A draw of so many rows out of however many come: each row gets a number by the seed, and those with the
// smallest stay. It needs no second pass and no count beforehand, and memory for the rows that stay alone.
import { createRandom } from "../base/random.ts";

/** Streams of chance, so that the draw, the split and the order do not follow from each other. */
const DRAW_STREAM = 0xd4a3;

export interface Draw<T> {
  /** Whether the next row is drawn, as far as can be said yet. To be asked once for each row. */
  isNextDrawn(): boolean;
  /** What became of the row that was drawn last; a later row may yet take its place. */
  keep(outcome: T): void;
  /** What is left in the end, in the order in which it was kept. */
  drawn(): T[];
}

export function createDraw<T>(wanted: number, seed: number): Draw<T> {
  const random = createRandom(seed, DRAW_STREAM);
  /** A heap by number, the largest on top: the first to give its place away. */
  const heap: { number: number; order: number; outcome: T | undefined }[] = [];
  let last: (typeof heap)[number] | undefined;
  let order = 0;
  return {
    isNextDrawn() {
      const number = random.next();
      if (heap.length < wanted) {
        last = { number, order: order++, outcome: undefined };
        heap.push(last);
        siftUp(heap);
        return true;
      }
      if (!(number < (heap[0]?.number ?? 0))) return false;
      last = { number, order: order++, outcome: undefined };
      heap[0] = last;
      siftDown(heap);
      return true;
    },
    keep(outcome) {
      if (last) last.outcome = outcome;
    },
    drawn: () =>
      heap
        .toSorted((a, b) => a.order - b.order)
        .flatMap(({ outcome }) => (outcome === undefined ? [] : [outcome])),
  };
}

type Numbered = { readonly number: number };

function siftUp(heap: Numbered[]): void {
  let at = heap.length - 1;
  const item = heap[at] as Numbered;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    const above = heap[parent] as Numbered;
    if (above.number >= item.number) break;
    heap[at] = above;
    at = parent;
  }
  heap[at] = item;
}

function siftDown(heap: Numbered[]): void {
  const item = heap[0] as Numbered;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    const right = heap[child + 1];
    if (right !== undefined && right.number > (heap[child] as Numbered).number) child++;
    const below = heap[child] as Numbered;
    if (below.number <= item.number) break;
    heap[at] = below;
    at = child;
  }
  heap[at] = item;
}
