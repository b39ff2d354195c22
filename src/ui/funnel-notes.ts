// What is said below each stage of the data's way into training.
import { formatCount } from "../base/format.ts";
import type { FunnelReport } from "../services/api.ts";
import type { FunnelNumbers } from "./data-view.ts";
import type { Text } from "./text/table.ts";

/** By stage; nothing that did not happen is told. */
export interface FunnelNotes {
  readonly read: readonly string[];
  readonly kept: readonly string[];
  readonly train: readonly string[];
  readonly rows: readonly string[];
}

export function funnelNotes(
  numbers: FunnelNumbers,
  funnel: FunnelReport,
  words: Text["data"]["funnel"],
): FunnelNotes {
  const n = formatCount;
  const told = (count: number, say: (count: string) => string) =>
    count > 0 ? [say(n(count))] : [];
  const lost = [
    ...told(numbers.broken, words.broken),
    ...told(funnel.notDrawn, words.notDrawn),
    ...told(numbers.empty, words.empty),
    ...told(numbers.unlabeled, words.unlabeled),
  ];
  const { maxLength, firstDoubt = "" } = funnel;
  return {
    read: [
      ...(lost.length > 0 ? lost : [words.noLoss]),
      ...told(funnel.doubtful, (count) => words.doubtful(count, firstDoubt)),
    ],
    kept: [
      words.tokens(n(funnel.tokens), numbers.learned.toFixed(0)),
      ...told(numbers.duplicates, words.duplicates),
      ...told(funnel.continued, words.continued),
      ...told(funnel.truncated, (count) =>
        words.truncated(count, n(maxLength), n(funnel.tokensLost)),
      ),
      ...told(funnel.endless, words.endless),
    ],
    train: told(numbers.heldOut, words.heldOut),
    rows: [
      words.rowLength(n(maxLength), numbers.filled.toFixed(0)),
      ...told(funnel.droppedRows, words.droppedRows),
      ...told(funnel.lostTokens, words.lostTokens),
    ],
  };
}
