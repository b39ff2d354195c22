// The comparison with the originals: set up, run, and write docs/fidelity.md after a whole run.
//   node test/interop/run.mjs [FILTER …]     with a filter, only those files, and nothing is written
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The beginnings of the checks' names, in the order of the table. */
const ORDER = [
  "NF4",
  "bnb-4bit",
  "logits",
  "adapter out",
  "adapter in",
  "training",
  "merged weights",
  "pickles read",
  "tokenizers",
  "chat templates",
  "loss masks",
];

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "hone-scores-"));
const scores = join(folder, "scores.jsonl");
const filters = process.argv.slice(2);

const { status } = spawnSync(
  process.execPath,
  [join(root, "node_modules/vitest/vitest.mjs"), "run", "--project", "interop", ...filters],
  { cwd: root, stdio: "inherit", env: { ...process.env, HONE_SCORES: scores } },
);
const rows = existsSync(scores)
  ? readFileSync(scores, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line))
  : [];
rmSync(folder, { recursive: true });
if (filters.length === 0 && rows.length > 0) {
  writeFileSync(join(root, "docs", "fidelity.md"), scorecard(rows));
}
process.exit(status ?? 1);

/** The rows as one table, in the order of `ORDER`, then by check and subject. */
function scorecard(all) {
  const sorted = all.toSorted(
    (a, b) =>
      rank(a.check) - rank(b.check) || compare(a.check, b.check) || compare(a.subject, b.subject),
  );
  const lines = sorted.map(({ check, subject, required, measured, holds }) => {
    const cells = [check, subject, required, measured, holds ? "yes" : "**no**"];
    return `| ${cells.map(cell).join(" | ")} |`;
  });
  return `# Fidelity

What Hone reads, writes and computes, held against the originals: PyTorch, transformers, PEFT, bitsandbytes,
tokenizers, sentencepiece and gguf, in the versions that [requirements.txt](../test/interop/requirements.txt) pins.
\`npm run test:interop\` runs them and writes this file.

An *error* is the largest |ours − theirs| as a share of the largest |theirs|, over all numbers compared.
*Random* models are tiny, of the family's architecture, and drawn from fixed seeds; the others are trained ones.

| check | subject | required | measured | holds |
|---|---|---|---|---|
${lines.join("\n")}
`;
}

function rank(check) {
  const place = ORDER.findIndex((name) => check.startsWith(name));
  return place === -1 ? ORDER.length : place;
}

function compare(a, b) {
  return a < b ? -1 : Number(a > b);
}

function cell(text) {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ");
}
