// What the Data screen says of each stage, in both languages.
import { expect, test } from "vitest";
import type { FunnelReport } from "../../src/services/api.ts";
import { funnelNumbers } from "../../src/ui/data-view.ts";
import { funnelNotes } from "../../src/ui/funnel-notes.ts";
import { TEXTS } from "../../src/ui/text/table.ts";

const nothing: FunnelReport = {
  files: [],
  rowsRead: 100,
  droppedBroken: 0,
  doubtful: 0,
  notDrawn: 0,
  droppedEmpty: 0,
  droppedUnlabeled: 0,
  maxLength: 64,
  kept: 100,
  continued: 0,
  truncated: 0,
  tokensLost: 0,
  endless: 0,
  endsLost: 0,
  tokens: 6400,
  labelTokens: 3200,
  packed: true,
  trainExamples: 100,
  evaluationExamples: 0,
  trainRows: 100,
  evaluationRows: 0,
  droppedRows: 0,
  lostTokens: 0,
  trainTokens: 6400,
};
const notesOf = (more: Partial<FunnelReport>, language: "en" | "zh" = "en") => {
  const report = { ...nothing, ...more };
  return funnelNotes(funnelNumbers(report, []), report, TEXTS[language].data.funnel);
};

test("what did not happen is not told", () => {
  expect(notesOf({})).toEqual({
    read: ["all of them"],
    kept: ["6,400 tokens, 50 % of them learned"],
    train: [],
    rows: ["of 64 tokens, 100 % filled"],
  });
});

test.each(["en", "zh"] as const)(
  "rows not drawn, doubts, and texts continued or cut: %s",
  (language) => {
    const firstDoubt = "d.json, row 7 (line 7): message 2 is a human's.";
    const { read, kept, rows } = notesOf(
      {
        notDrawn: 1234,
        doubtful: 21,
        firstDoubt,
        continued: 32,
        truncated: 43,
        tokensLost: 5432,
        lostTokens: 65,
      },
      language,
    );
    expect(read).toEqual([expect.stringContaining("1,234"), expect.stringMatching(/^21 .*row 7/)]);
    expect(kept.slice(1)).toEqual([
      expect.stringContaining("32"),
      expect.stringMatching(/^43 .*64.*5,432/),
    ]);
    expect(rows[1]).toContain("65");
  },
);
