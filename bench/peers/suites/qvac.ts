// QVAC: LoRA training of a Qwen3-shaped model through Vulkan.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRandom } from "../../../src/base/random.ts";
import { makeQwen3, type Qwen3Sizes } from "../gguf.ts";
import { OurTraining } from "../ours/training.ts";
import { QvacProcess } from "../qvac-process.ts";
import { type Bench, compare } from "./suite.ts";

const PEER = "@qvac/llm-llamacpp 0.38.2";
const RANK = 8;
const ALPHA = 16;
const LEARNING_RATE = 1e-4;
const FILE = "model.gguf";
// Both start from the same weights, theirs rounded to 8 bits and ours to 4 more.
const LOSS_TOLERANCE = 0.05;

interface Size extends Qwen3Sizes {
  readonly tokens: number;
}

const SOFTWARE: Size = {
  layers: 4,
  hidden: 256,
  heads: 4,
  kvHeads: 2,
  headSize: 64,
  intermediate: 768,
  vocab: 2048,
  context: 512,
  tokens: 128,
};
/** Qwen3-0.6B's block, fewer of them and a smaller vocabulary. */
const GPU: Size = {
  layers: 12,
  hidden: 1024,
  heads: 16,
  kvHeads: 8,
  headSize: 128,
  intermediate: 3072,
  vocab: 32_768,
  context: 2048,
  tokens: 512,
};

export async function benchQvac(bench: Bench): Promise<void> {
  const size = bench.isSoftware ? SOFTWARE : GPU;
  const { layers, hidden, tokens, vocab } = size;
  const shape = `${tokens} tokens, ${layers} layers, ${hidden} wide, vocab ${vocab}, r ${RANK}`;
  const subject = { peer: PEER, what: "training step, LoRA", shape, unit: "tokens/s", required: 2 };
  const folder = mkdtempSync(join(tmpdir(), "hone-peers-"));
  let theirs: QvacProcess | undefined;
  try {
    await compare(bench, subject, async () => {
      const model = join(folder, FILE);
      writeFileSync(model, makeQwen3(size, 1));
      // It cuts a text into steps; a few more than are measured, since it tells of them late.
      const letters = lettersOf(tokens * (bench.repetitions + 6) + 1);
      const data = join(folder, "text.txt");
      writeFileSync(data, letters);
      const ids = Uint32Array.from(letters.subarray(0, tokens + 1)); // a letter's id is its byte
      const lora = { rank: RANK, alpha: ALPHA, learningRate: LEARNING_RATE };
      const ours = await OurTraining.create(bench.gpu, bench.tune, {
        folder,
        file: FILE,
        ids,
        ...lora,
      });
      const output = join(folder, "output");
      const process = new QvacProcess(bench.place, {
        model,
        data,
        output,
        context: tokens,
        ...lora,
      });
      theirs = process;
      return {
        theirs: process,
        ours,
        work: tokens,
        warmUps: 2,
        difference: () => {
          const [loss = Number.NaN] = process.losses;
          return Promise.resolve(Math.abs(loss - ours.firstLoss) / ours.firstLoss);
        },
        tolerance: LOSS_TOLERANCE,
        get adapter() {
          return process.adapter;
        },
        free: () => ours.free(),
      };
    });
  } finally {
    theirs?.end();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A text of lower-case letters. */
function lettersOf(count: number): Uint8Array {
  const random = createRandom(1);
  return Uint8Array.from({ length: count }, () => 97 + Math.floor(random.next() * 26));
}
