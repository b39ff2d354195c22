// Files of torch.save with bytes changed, and programs of opcodes in any order.
import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { UserError } from "../../src/base/error.ts";
import {
  type Code,
  expectFast,
  readAll,
  bytes,
  code,
  RIGHT,
  root,
  ordered,
  history,
  encode,
} from "./torch-cases.ts";
import {
  dict,
  get,
  int,
  join,
  list,
  none,
  put,
  storage,
  floats,
  tensor,
  text,
  torchEntries,
  torchZip,
  tuple,
  zip,
} from "./torch-maker.ts";

const fixture = (name: string) =>
  new Uint8Array(readFileSync(new URL(`../fixtures/torch-files/${name}`, import.meta.url)));

describe("bytes changed at random", () => {
  const files = ["tensors.pt", "tensors-legacy.pt", "iter_6.pth"].map(fixture);
  // Where pickles and headers are; most bytes of the rest are numbers, which may be any.
  const change = fc.record({
    at: fc.nat(),
    value: fc.oneof(fc.nat(255), fc.constantFrom(...code("(.0RboicQ}]utse"), 0x80, 0x81, 0x93)),
    cut: fc.nat(3),
    added: fc.uint8Array({ maxLength: 3 }),
  });

  test("give tensors or a UserError, fast, whatever they are", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...files),
        fc.array(change, { minLength: 1, maxLength: 4 }),
        async (file, changes) => {
          let bytesNow = file;
          for (const { at, value, cut, added } of changes) {
            const place = at % bytesNow.length;
            bytesNow = join(
              bytesNow.slice(0, place),
              cut === 0 ? [value] : added,
              bytesNow.slice(place + Math.max(1, cut)),
            );
          }
          await expectFast(500, () =>
            readAll(bytesNow).catch((error: unknown) => {
              if (!(error instanceof UserError)) throw error;
            }),
          );
        },
      ),
      { numRuns: 1500 },
    );
  });

  test("of a pickle alone give a value or a UserError", async () => {
    const [, , iter] = files;
    // data.pkl is the first entry; its sizes follow it, under a signature.
    const whole = Buffer.from(iter!);
    const source = new Uint8Array(
      whole.subarray(whole.indexOf("\x80\x02", 0, "latin1"), whole.indexOf("PK\x07\x08")),
    );
    expect(source.at(-1)).toBe(".".charCodeAt(0));
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async (changes) => {
        const now = source.slice();
        for (const { at, value } of changes) now[at % now.length] = value;
        await readAll(zip({ entries: torchEntries(now, new Uint8Array(16)) })).catch(
          (error: unknown) => {
            if (!(error instanceof UserError)) throw error;
          },
        );
      }),
      { numRuns: 1000 },
    );
  });

  test("that are opcodes in any order give a value or a UserError", async () => {
    const codes: Code[] = [
      [none, int(1), text("a"), tuple(), list(), dict(), ordered, floats, history, encode],
      [storage(floats, "0", 4), get(0), put(none, 0), tensor(RIGHT)],
      "(0123RQbtdlaesu".split("").map((letter) => code(letter)),
      [0x81, 0x85, 0x86, 0x87, 0x8f, 0x90, 0x91, 0x93, 0x94].map((byte) => bytes(byte)),
    ].flat();
    const opcode = fc.constantFrom(...codes);
    const outcomes = { read: 0, refused: 0 };
    await fc.assert(
      fc.asyncProperty(fc.array(opcode, { maxLength: 40 }), async (program) => {
        await readAll(torchZip(root(join(...program)))).then(
          () => outcomes.read++,
          (error: unknown) => {
            if (!(error instanceof UserError)) throw error;
            outcomes.refused++;
          },
        );
      }),
      { numRuns: 2000 },
    );
    expect(Math.min(outcomes.read, outcomes.refused)).toBeGreaterThan(0);
  });
});
