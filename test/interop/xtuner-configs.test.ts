// XTuner's own configs: our evaluator against Python, and which of them become runs. Left out where the wheels
// of requirements-xtuner.txt cannot be had.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readOption } from "../../src/xtuner/cfg-options.ts";
import { evaluatePython } from "../../src/xtuner/python-evaluate.ts";
import { readXtunerConfig } from "../../src/xtuner/read-xtuner-config.ts";
import { plainValue } from "../xtuner/plain-value.ts";
import { cacheDirectory, python, workDirectory } from "./python.ts";
import { pythonPath } from "./setup.mjs";

const sources = unpackedWheels();
const out = await workDirectory("xtuner-configs");

/** The folder that both wheels are unpacked into; undefined where they cannot be had. */
function unpackedWheels(): string | undefined {
  const folder = join(cacheDirectory, "xtuner-0.1.11");
  if (existsSync(folder)) return folder;
  const making = `${folder}-${process.pid}`;
  const requirements = join(import.meta.dirname, "requirements-xtuner.txt");
  try {
    mkdirSync(making, { recursive: true });
    run("-m", "pip", "download", "--quiet", "--no-deps", "--dest", making, "-r", requirements);
    const unpack = "import pathlib, sys, zipfile\nfor w in pathlib.Path(sys.argv[1]).glob('*.whl'): zipfile.ZipFile(w).extractall(sys.argv[1])"; // prettier-ignore
    run("-c", unpack, making);
    renameSync(making, folder);
    return folder;
  } catch {
    return undefined;
  }
}

function run(...args: readonly string[]): void {
  execFileSync(pythonPath("current"), args, { stdio: "pipe" });
}

/** The configs by path inside the wheel: their text, and their names as Python has them. */
async function configsOf(folder: string): Promise<[string, string, Record<string, unknown>][]> {
  const configs = join(folder, "xtuner/configs");
  const found = JSON.parse(await python("xtuner_configs", ["configs", configs])) as Record<
    string,
    Record<string, unknown>
  >;
  return Object.entries(found).map(([path, names]) => [
    path,
    readFileSync(join(configs, path), "utf8"),
    names,
  ]);
}

describe.skipIf(sources === undefined)("XTuner 0.1.11's configs", async () => {
  const configs = sources === undefined ? [] : await configsOf(sources);

  test("there are 328 of them", () => {
    expect(configs).toHaveLength(328);
  });

  test("each comes to the names and values that Python gives them", () => {
    for (const [path, text, names] of configs) {
      const evaluated = evaluatePython(text, path, (symbol) => symbol);
      expect([path, evaluated.refused]).toEqual([path, []]);
      const ours = [...evaluated.names].map(([name, { value }]) => [name, plainValue(value)]);
      expect([path, Object.fromEntries(ours)]).toEqual([path, names]);
    }
  });

  test("every adapter of a text model becomes a run, and all others are refused for what they are", () => {
    const reasons: readonly (readonly [RegExp, RegExp])[] = [
      [/_hf\.py$/, /a config for transformers' Trainer/],
      [/llava/, /a model that sees images/],
      [/_full_/, /all weights would be trained/],
      [/int8_lora/, /4 bits \(load_in_4bit=True/],
      [/moss_sft/, /MOSS' own reader/],
    ];
    const refused = configs.flatMap(([path, text]) => {
      const [, reason] = reasons.find(([name]) => name.test(path)) ?? [];
      const problem = problemOf(text, path);
      const isRight = reason === undefined ? problem === "" : reason.test(problem);
      expect([path, isRight, problem]).toEqual([path, true, problem]);
      return problem === "" ? [] : [path];
    });
    expect(configs.length - refused.length).toBe(287);
  });
});

/** Why a config is refused; "" where it is not. */
function problemOf(text: string, place: string): string {
  try {
    return readXtunerConfig(text, place).config.compat === "xtuner-0.1.17" ? "" : "no compat";
  } catch (error) {
    return String(error);
  }
}

const ATOMS = "0 1 2 7 -1 0.03 2e-4 1.5 True False None 'a' r'\\n' [1,2] (1,2.0) () [] {} {'a':1} dict(a=1) 0x1F 1_000 1e22 10**-5 int(2.7) float(3)".split(" "); // prettier-ignore
const OPERATORS = "+ - * / // % == != < <= > >= and or in".split(" ");

/** Expressions by chance, from a seed of their own. */
function expressions(count: number): string[] {
  let state = 7;
  const below = (limit: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
  const pick = (from: readonly string[]): string => from[below(from.length)] ?? "";
  const make = (depth: number): string => {
    if (depth === 0) return pick(ATOMS);
    const inner = () => make(depth - 1 - below(2) * Math.min(1, depth - 1));
    switch (below(6)) {
      case 0:
        return `(${inner()})`;
      case 1:
        return `${pick(["-", "not ", "not not "])}${inner()}`;
      case 2:
        return `[${inner()}, ${inner()}]`;
      case 3:
        return `${inner()} if ${inner()} else ${inner()}`;
      case 4:
        return `${inner()} ** ${pick(["2", "0", "-1", "3"])}`;
      default:
        return `${inner()} ${pick(OPERATORS)} ${inner()}`;
    }
  };
  return Array.from({ length: count }, () => make(1 + below(4)));
}

test("expressions come to what Python makes of them, or are refused", async () => {
  const texts = expressions(5000);
  const path = join(out, "expressions.json");
  writeFileSync(path, JSON.stringify(texts));
  const theirs = JSON.parse(await python("xtuner_configs", ["expressions", path])) as unknown[];
  let same = 0;
  for (const [index, text] of texts.entries()) {
    const { names, refused } = (() => {
      try {
        return evaluatePython(`x = ${text}\n`, "a.py", (symbol) => symbol);
      } catch {
        return { names: new Map<string, never>(), refused: [{ line: 1, text: "" }] };
      }
    })();
    const expected = theirs[index];
    // Python refuses a few more forms ("1 < not 2"); what it takes must be the same, or refused by us.
    if (refused.length > 0 || expected === null) continue;
    same++;
    expect([text, { value: plainValue(names.get("x")?.value ?? null) }]).toEqual([text, expected]);
  }
  expect(same).toBeGreaterThan(1500);
});

test.skipIf(sources === undefined)("options are read as DictAction reads them", async () => {
  const texts = [
    ..."1 -1_0 1e-4 .5 5. 1.e3 1_0.5 1__0 +3 0x1F e3 inf nan true False None none a,b a, ,a 1,,2 [] () (0.9,0.999) [(1,2),[a,b],c] [1,2], (1,2),3".split(" "),
    "", "a b", "'a'", "'a,b'", '"[1]"', " 1 ", "[1,(2]", "[1,2", "[a,b],[c]",
  ]; // prettier-ignore
  const path = join(out, "options.json");
  writeFileSync(path, JSON.stringify(texts));
  const theirs = JSON.parse(
    await python("xtuner_configs", ["options", path, sources ?? ""]),
  ) as unknown[];
  const ours = texts.map((text) => {
    try {
      return { value: plainValue(readOption(text)) };
    } catch {
      return null;
    }
  });
  expect(texts.map((text, i) => [text, ours[i]])).toEqual(
    texts.map((text, i) => [text, theirs[i]]),
  );
});
