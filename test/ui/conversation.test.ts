// What each side of a conversation remembers, which adapters go on a model, and links to them.
import { describe, expect, test } from "vitest";
import type { RunRecord, StoredModel } from "../../src/services/api.ts";
import { adaptersFor, findBase, shareLink } from "../../src/ui/adapter-choices.ts";
import {
  formatPercent,
  messagesFor,
  type Reply,
  tintOf,
  type Turn,
} from "../../src/ui/conversation.ts";

const said = (text: string, state: Reply["state"] = "done"): Reply => ({ state, pieces: [], text });
const turn = (question: string, replies: Turn["replies"] = {}): Turn => ({
  id: 1,
  question,
  replies,
  attempt: 0,
});

describe("each side", () => {
  const turns = [
    turn("q1", { base: said("b1"), tuned: said("t1") }),
    turn("q2", { base: said("b2") }),
    turn("q3", { base: said("", "failed"), tuned: said("", "stopped") }),
    turn("q4"),
  ];

  test("remembers its own replies, else the other's, and leaves out what nobody answered", () => {
    expect(messagesFor("tuned", "be kind", turns).map(({ content }) => content)).toEqual([
      "be kind",
      "q1",
      "t1",
      "q2",
      "b2",
      "q4",
    ]);
  });

  test("is asked the last question, and told nothing where there is no system prompt", () => {
    expect(messagesFor("base", "", turns)).toEqual([
      { role: "user", content: "q1" },
      { role: "assistant", content: "b1" },
      { role: "user", content: "q2" },
      { role: "assistant", content: "b2" },
      { role: "user", content: "q4" },
    ]);
  });
});

test("probabilities are told with as many digits as they have meaning", () => {
  expect([1, 0.99999, 0.5, 0.0312, 0.00001].map(formatPercent)).toEqual([
    "100 %",
    ">99.9 %",
    "50.0 %",
    "3.1 %",
    "<0.1 %",
  ]);
  expect([0, 0.2, 0.5, 0.8, 1].map(tintOf)).toEqual([0, 1, 2, 3, 4]);
});

const stored = (changes: Partial<StoredModel>): StoredModel => ({
  id: "m",
  kind: "model",
  name: "m",
  origin: { kind: "local" },
  bytes: 1,
  addedAt: "",
  usedAt: "",
  ...changes,
});
const hub = (repo: string) => ({ kind: "hub", repo, revision: "main", commit: "c" }) as const;

describe("adapters", () => {
  const base = stored({ id: "smol", name: "org/Smol", origin: hub("org/Smol") });
  const other = stored({ id: "seedling", name: "seedling", origin: { kind: "embedded" } });
  const adapter = stored({
    id: "a",
    kind: "adapter",
    name: "me/a",
    origin: hub("me/a"),
    baseModel: "org/Smol",
  });
  const unknown = stored({ id: "u", kind: "adapter", name: "u", baseModel: "nobody/knows" });
  const models = [base, other, adapter, unknown];
  const run = {
    id: "r",
    name: "run",
    modelId: "seedling",
    checkpoint: "iter_9",
    checkpoints: ["iter_5", "iter_9"],
  } as unknown as RunRecord;

  test("go on the model they were made for; of an unknown one, on any", () => {
    expect(adaptersFor(base, models, [run]).map(({ key }) => key)).toEqual([
      "imported:a",
      "imported:u",
    ]);
    expect(adaptersFor(other, models, [run]).map(({ key }) => key)).toEqual([
      "run:r",
      "imported:u",
    ]);
    expect(adaptersFor(other, models, [run])[0]?.checkpoints).toEqual(["iter_9", "iter_5"]);
  });

  test("find their base by its id on the hub, or by the last part of a path", () => {
    expect(findBase("org/Smol", models)).toBe(base);
    expect(findBase("/root/models/smol/", models)).toBe(base);
    expect(findBase("Smol-2", models)).toBeUndefined();
    expect(findBase(undefined, models)).toBeUndefined();
  });

  test("of the hub have a link that names them and their base", () => {
    const link = shareLink("https://h.example/app/#/try?x=1", adapter, base) ?? "";
    const [page, query = ""] = link.split("?");
    expect(page).toBe("https://h.example/app/#/try");
    expect(Object.fromEntries(new URLSearchParams(query))).toEqual({
      adapter: "me/a",
      model: "org/Smol",
    });
    expect(shareLink("https://h.example/", unknown, base)).toBeUndefined();
  });
});
