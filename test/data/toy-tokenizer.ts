// The tokenizer of fixtures/data.json: one id per character, its code point + 10; BOS 1, EOS 2.

import type { Tokenizer } from "../../src/formats/tokenizer.ts";

export const toyTokenizer: Tokenizer = {
  encode: (text) => Array.from(text, (char) => char.codePointAt(0)! + 10),
  encodeWithSpans(text) {
    const ids = this.encode(text);
    const ends = Array.from(text).map((char) => char.length);
    for (let i = 1; i < ends.length; i++) ends[i]! += ends[i - 1]!;
    return { ids, starts: [0, ...ends.slice(0, -1)].slice(0, ids.length), ends };
  },
  decode: (ids) => Array.from(ids, (id) => (id < 10 ? "" : String.fromCodePoint(id - 10))).join(""),
  bosId: 1,
  eosIds: [2],
  vocabSize: 0x110000 + 10,
  idOf: (token) => ({ "<s>": 1, "</s>": 2 })[token],
  tokenOf: (id) => (id === 1 ? "<s>" : id === 2 ? "</s>" : String.fromCodePoint(id - 10)),
  isSpecial: (id) => id === 1 || id === 2,
};
