// Tokenizers in GGUF metadata against what they were made from: ids, for every way of cutting words.
import { readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { tokenizerFromGguf } from "../../src/formats/gguf-tokenizer.ts";
import { createTokenizer } from "../../src/formats/tokenizer.ts";
import { openFolder } from "../../src/hosts/node.ts";
import { readGguf } from "../../src/model/files/gguf-files.ts";
import { cacheDirectory, python, smolLm2, smolLm2Gguf, workDirectory } from "./python.ts";
import { score } from "./scorecard.ts";

interface Made {
  name: string;
  subject: string;
  file: string;
}

const root = fileURLToPath(new URL("../..", import.meta.url));
const out = await workDirectory("gguf-tokenizers");
const made = JSON.parse(
  await python("sentencepiece-gguf", [
    cacheDirectory,
    // Other people's files, so not in the repository; what needs them is left out where they are absent.
    join(root, "../shared/data"),
    await smolLm2(),
    join(root, "public/models/seedling"),
    await smolLm2Gguf(),
    out,
  ]),
) as Made[];

test.each(made)("$subject: ids are equal", async ({ name, subject, file }) => {
  const { metadata } = await readGguf(openFolder(dirname(file)), basename(file));
  const tokenizer = createTokenizer(tokenizerFromGguf(metadata, file), name);
  const { texts, ids } = JSON.parse(readFileSync(join(out, `${name}.json`), "utf8")) as {
    texts: string[];
    ids: number[][];
  };
  const different = texts.filter((text, i) => tokenizer.encode(text).join() !== ids[i]!.join());
  expect(texts.length).toBeGreaterThan(9_000);
  score({
    check: "tokenizers",
    subject,
    required: "ids equal to what the file was made from",
    measured: `${different.length} of ${texts.length.toLocaleString("en-US")} texts differ`,
    holds: different.length === 0,
  });
  expect(different.slice(0, 5)).toEqual([]);
});
