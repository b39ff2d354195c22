// Talking to a model: how much of its adapter acts, what it says of its tokens, and its bare logits.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseConfig } from "../../../src/config/read.ts";
import { type Chat, createEngine, type SamplingOptions } from "../../../src/engine.ts";
import { createStopper } from "../../../src/engine/answers/stopper.ts";
import type { StreamDecoder } from "../../../src/formats/tokenizer.ts";
import { nodeHost, openDataSource, openFolder } from "../../../src/hosts/node.ts";
import type { AdapterChoice } from "../../../src/hosts/node-gpu.ts";
import { temporaryFolder, writeTinyData, writeTinyModel } from "../tiny-folder.ts";

const adapter = (process.env["HONE_ADAPTER"] ?? "swiftshader") as AdapterChoice;
const engine = createEngine(nodeHost({ adapter }));
afterAll(() => engine.close());
const model = writeTinyModel();
const data = writeTinyData();
const workDir = openFolder(temporaryFolder());

const asked = [{ role: "user", content: "What is 3 plus 3, and who are you?" }] as const;
const sampling: SamplingOptions = {
  maxNewTokens: 12,
  temperature: 0,
  topK: 0,
  topP: 1,
  repetitionPenalty: 1,
  seed: 0,
  stopWords: [],
};
const load = { model: openFolder(model), contextTokens: 96 };

beforeAll(async () => {
  const config = parseConfig(
    {
      model,
      data: [data],
      max_length: 32,
      max_steps: 3,
      accumulative_counts: 1,
      lr: 0.1, // enough for other answers after three steps
      warmup_ratio: 0,
      evaluation_freq: 0,
      lora: { r: 6, lora_alpha: 24, lora_dropout: 0 },
    },
    "the test",
  );
  const sources = [await openDataSource(data)];
  const request = { config, model: openFolder(model), data: sources, workDir };
  await engine.train({ ...request, onEvent: () => {} });
});

async function withChat<T>(request: object, use: (chat: Chat) => Promise<T>): Promise<T> {
  const chat = await engine.openChat({ ...load, ...request });
  try {
    return await use(chat);
  } finally {
    chat.close();
  }
}

const answerOf = async (chat: Chat) => (await chat.reply(asked, sampling)).text;

describe.each(["none", "nf4"] as const)("with weights in %s", (quantization) => {
  test("scale 0 is the base to the bit, and 1 what it was, however it came there", async () => {
    const base = await withChat({ quantization }, async (chat) => ({
      logits: await chat.logits(asked),
      text: await answerOf(chat),
    }));
    const tuned = { adapter: workDir.folder("iter_3"), quantization };
    await withChat(tuned, async (chat) => {
      const logits = await chat.logits(asked);
      const text = await answerOf(chat);
      expect(logits).not.toEqual(base.logits);
      expect(text).not.toBe(base.text);
      chat.setAdapterScale(0);
      expect(await chat.logits(asked)).toEqual(base.logits);
      expect(await answerOf(chat)).toBe(base.text);
      chat.setAdapterScale(1);
      expect(await chat.logits(asked)).toEqual(logits);
      expect(await answerOf(chat)).toBe(text);
    });
  });
});

test("logits are of the whole vocabulary, and the same at every call", async () => {
  await withChat({}, async (chat) => {
    const first = await chat.logits(asked);
    // As many as tiny-folder.ts gives the model.
    expect(first).toHaveLength(2304);
    expect(first.every(Number.isFinite)).toBe(true);
    await answerOf(chat); // leaves other things in the cache
    expect(await chat.logits(asked)).toEqual(first);
  });
});

test("between 0 and 2 the logits move with the scale, and outside it is refused", async () => {
  await withChat({ adapter: workDir.folder("iter_3") }, async (chat) => {
    const at = async (scale: number) => {
      chat.setAdapterScale(scale);
      return chat.logits(asked);
    };
    const [base, half, full] = [await at(0), await at(0.5), await at(1)];
    expect(distance(half, base)).toBeGreaterThan(0);
    expect(distance(half, base)).toBeLessThan(distance(full, base));
    expect(() => chat.setAdapterScale(2.1)).toThrow("adapter scale");
    expect(() => chat.setAdapterScale(Number.NaN)).toThrow("adapter scale");
  });
});

test("the first piece's probability is the softmax of the logits, whatever the temperature", async () => {
  await withChat({}, async (chat) => {
    const logits = await chat.logits(asked);
    const largest = Math.max(...logits);
    const sum = logits.reduce((total, logit) => total + Math.exp(logit - largest), 0);
    const pieces: { text: string; probability: number }[] = [];
    await chat.reply(asked, { ...sampling, topK: 3 }, (text, info) =>
      pieces.push({ text, ...info }),
    );
    // f32 sums over 2304 numbers, against f64.
    expect(pieces[0]!.probability).toBeCloseTo(1 / sum, 6);
    expect(pieces.every(({ probability }) => probability > 0 && probability <= 1)).toBe(true);
  });
});

function distance(a: Float32Array, b: Float32Array): number {
  return Math.hypot(...a.map((value, i) => value - (b[i] ?? 0)));
}

/** Tokens that are texts: the decoder knows them by their places; "" settles nothing yet. */
function decoderOf(texts: readonly string[], rest = ""): StreamDecoder {
  return { push: (id) => texts[id] ?? "", flush: () => rest };
}

function piecesOf(texts: readonly string[], stopWords: readonly string[], rest = "") {
  const pieces: [string, number][] = [];
  const stopper = createStopper(stopWords, decoderOf(texts, rest), (text, { probability }) =>
    pieces.push([text, probability]),
  );
  texts.some((_, id) => stopper.push(id, (id + 1) / 10));
  return { pieces, text: stopper.finish() };
}

describe("an answer in pieces", () => {
  test("each token is a piece with its own probability", () => {
    const { pieces, text } = piecesOf(["He", "llo", "!"], []);
    expect(pieces).toEqual([
      ["He", 0.1],
      ["llo", 0.2],
      ["!", 0.3],
    ]);
    expect(text).toBe("Hello!");
  });

  test("what is part of a character comes with the token that completes it", () => {
    expect(piecesOf(["a", "", "你", "b"], []).pieces).toEqual([
      ["a", 0.1],
      ["你", 0.3],
      ["b", 0.4],
    ]);
  });

  test("what might have become a stop word comes later, token by token", () => {
    expect(piecesOf(["a<", "|", "x"], ["<|end"]).pieces).toEqual([
      ["a", 0.1],
      ["<", 0.1],
      ["|", 0.2],
      ["x", 0.3],
    ]);
  });

  test("a stop word ends it, and nothing of it is shown", () => {
    const { pieces, text } = piecesOf(["ok", " <|e", "nd|>", "more"], ["<|end|>"]);
    expect(pieces).toEqual([
      ["ok", 0.1],
      [" ", 0.2],
    ]);
    expect(text).toBe("ok ");
  });

  test("at the end, what was held back is shown, and half a character is not", () => {
    expect(piecesOf(["a", "<"], ["<|end"], "b\uFFFD")).toEqual({
      pieces: [
        ["a", 0.1],
        ["<", 0.2],
        ["b", 0.2],
      ],
      text: "a<b",
    });
  });
});
