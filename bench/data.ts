// How long data takes from its file to packed rows, and how much memory: rows that all differ, by several
// tokenizers, by a named template and by a model's own. People read the table on stderr.
//
//   npm run bench -- data [--rows 100000]
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { formatBytes, formatCount } from "../src/base/format.ts";
import { createBatches } from "../src/data/batches.ts";
import { buildDataset } from "../src/data/dataset.ts";
import { promptTemplate } from "../src/data/templates.ts";
import { compileChatTemplate } from "../src/formats/chat-template.ts";
import { tokenizerFromSentencePiece } from "../src/formats/sentencepiece-tokenizer.ts";
import { createTokenizer, type Tokenizer } from "../src/formats/tokenizer.ts";
import { makeJsonl, makeLlamaTokenizer } from "./corpus.ts";

const CHATML =
  "{{ bos_token }}{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

export async function benchData(args: readonly string[], root: string): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      rows: { type: "string", default: "100000" },
      only: { type: "string", default: "" },
      json: { type: "boolean", default: false },
    },
  });
  const figures: Figures[] = [];
  for (const [name, load] of Object.entries(TOKENIZERS)) {
    if (values.only !== "" && !values.only.includes(name)) continue;
    const tokenizer = load(root);
    if (!tokenizer) continue;
    for (const form of ["alpaca", "openai"] as const) {
      for (const template of ["qwen_chat", "the model's own"]) {
        const what = `${name}, ${form}, ${template}`;
        if (values.only !== "" && what !== values.only) continue;
        const counts = [Number(values.rows) / 10, Number(values.rows)];
        for (const rows of counts)
          figures.push(await measure(what, tokenizer, form, template, rows));
        printPair(figures.slice(-2));
      }
    }
  }
  if (values.json) console.log(JSON.stringify(figures, null, 2));
}

const TOKENIZERS: Readonly<Record<string, (root: string) => Tokenizer | undefined>> = {
  "Seedling's": (root) => {
    const folder = `${root}public/models/seedling/`;
    const files = {
      tokenizer: readJson(`${folder}tokenizer.json`),
      tokenizerConfig: readJson(`${folder}tokenizer_config.json`),
    };
    return createTokenizer(files, "seedling");
  },
  "128,000 merges": () =>
    createTokenizer(
      {
        tokenizer: makeLlamaTokenizer(),
        tokenizerConfig: { bos_token: "<|begin_of_text|>", eos_token: "<|eot_id|>" },
      },
      "llama",
    ),
  "InternLM2's": (root) => {
    const bytes = readIfThere(`${root}../shared/data/internlm2-tokenizer.model`);
    const config = { bos_token: "<s>", eos_token: "</s>" };
    return (
      bytes && createTokenizer(tokenizerFromSentencePiece(bytes, config, "internlm2"), "internlm2")
    );
  },
};

interface Figures {
  readonly what: string;
  readonly rows: number;
  readonly tokens: number;
  readonly seconds: number;
  /** Of this process's threads together: what counts on a machine that others use too. */
  readonly cpuSeconds: number;
  readonly peakHeapBytes: number;
  readonly peakRssBytes: number;
}

async function measure(
  what: string,
  tokenizer: Tokenizer,
  form: "alpaca" | "openai",
  template: string,
  rows: number,
): Promise<Figures> {
  // The file is there before the clock starts.
  const pieces = [...makeJsonl(form, rows)];
  const before = process.memoryUsage();
  let heap = 0;
  let rss = 0;
  const look = () => {
    const now = process.memoryUsage();
    heap = Math.max(heap, now.heapUsed - before.heapUsed);
    rss = Math.max(rss, now.rss - before.rss);
  };
  const stream = function* () {
    for (const [i, piece] of pieces.entries()) {
      if (i % 16 === 0) look();
      yield piece;
    }
  };
  const started = performance.now();
  const cpu = process.cpuUsage();
  const { train, report } = await buildDataset([{ name: `${rows}.jsonl`, stream }], {
    tokenizer,
    template:
      template === "qwen_chat"
        ? promptTemplate(template)
        : compileChatTemplate(tokenizer.chatTemplate ?? CHATML),
    maxLength: 2048,
    pack: true,
    seed: 1,
  });
  look();
  const batches = createBatches(train, { rowTokens: 2048, rowsPerBatch: 1, seed: 1 });
  for (let i = 0; i < batches.batchesPerEpoch; i++) batches.at(i);
  const seconds = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  look();
  return {
    what,
    rows,
    tokens: report.tokens,
    seconds,
    cpuSeconds: (user + system) / 1e6,
    peakHeapBytes: heap,
    peakRssBytes: rss,
  };
}

function printPair([few, many]: Figures[]): void {
  if (!few || !many) return;
  console.error(
    `${many.what.padEnd(46)} ${formatCount(many.rows)} rows, ${(many.tokens / many.rows).toFixed(0)} tokens each: ${many.seconds.toFixed(1)} s (${many.cpuSeconds.toFixed(1)} s of CPU)` +
      `  heap at most ${formatBytes(many.peakHeapBytes)} (${formatCount(few.rows)} rows: ${formatBytes(few.peakHeapBytes)})` +
      `  resident +${formatBytes(many.peakRssBytes)} (+${formatBytes(few.peakRssBytes)})`,
  );
}

function readJson(path: string): unknown {
  return JSON.parse(readFileSync(path, "utf8"));
}

function readIfThere(path: string): Uint8Array | undefined {
  try {
    return new Uint8Array(readFileSync(path));
  } catch {
    return undefined;
  }
}
