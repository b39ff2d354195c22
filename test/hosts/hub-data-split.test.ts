// Where a split's files are looked for, and what is asked of the hub on the way.
import { expect, test } from "vitest";
import { NetworkError, ServerRefusal } from "../../src/hosts/http.ts";
import { findSplit } from "../../src/hosts/hub-data-split.ts";
import { parseHubReference } from "../../src/hosts/hub-reference.ts";

const HUB = "https://huggingface.co";
const CONVERTED = "refs/convert/parquet";

/** A hub with one data set, whose branches have these files. */
function hubOf(branches: Readonly<Record<string, readonly string[]>>, failure?: Error) {
  const asked: string[] = [];
  const find = (text: string) =>
    findSplit(parseHubReference(text, HUB, "dataset"), "train", {
      async list({ repo, revision }) {
        asked.push(revision);
        const names = branches[revision];
        if (!names)
          throw failure ?? new ServerRefusal("No such revision.", "Check it.", { status: 404 });
        const files = names.map((name) => ({ name, bytes: 1, gitOid: "0" }));
        return { repo: { repo, files }, revision };
      },
      async readCard(_, { name }) {
        asked.push(name);
        return [];
      },
    });
  return { asked, find };
}

test("a file that is named needs no README", async () => {
  const { asked, find } = hubOf({ main: ["README.md", "rows.jsonl"] });
  const { choice, held, named } = await find("org/rows/rows.jsonl");
  expect(choice).toMatchObject({ reason: "named", files: [{ name: "rows.jsonl" }] });
  expect(held).toBe(named);
  expect(asked).toEqual(["main"]);
  await find("org/rows");
  expect(asked).toEqual(["main", "main", "README.md"]);
});

test("what a script makes comes from the branch of converted files", async () => {
  const parquet = ["default/train/0000.parquet"];
  const { asked, find } = hubOf({ main: ["rows.py"], [CONVERTED]: parquet });
  const { choice, held, named } = await find("org/rows");
  expect([named.revision, held.revision]).toEqual(["main", CONVERTED]);
  expect(choice).toMatchObject({ reason: "converted", split: "train" });
  expect(asked).toEqual(["main", CONVERTED]);
});

test("that branch can be named itself, and its README is not read", async () => {
  const { asked, find } = hubOf({ [CONVERTED]: ["README.md", "default/train/0000.parquet"] });
  const { choice } = await find(`${HUB}/datasets/org/rows/tree/${CONVERTED}`);
  expect(choice.reason).toBe("converted");
  expect(asked).toEqual([CONVERTED]);
});

test("without a conversion the script is told of; any other failure stays what it is", async () => {
  await expect(hubOf({ main: ["rows.py"] }).find("org/rows")).rejects.toThrow(
    /made by a script \(rows\.py\)/,
  );
  const down = new NetworkError("The network is down.", "Try again.");
  await expect(hubOf({ main: ["rows.py"] }, down).find("org/rows")).rejects.toBe(down);
});
