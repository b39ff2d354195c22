"""Ids and texts of the families' tokenizers by Python's `tokenizers`, for tokenizers.test.ts.

    tokenizers-expected.py CACHE SHARED SMOLLM2 SEEDLING OUT [NAME]

Writes OUT/NAME.json for each family, or for one, with COUNT strings, and prints the families.
"""

import json
import pathlib
import sys

from tokenizers import Tokenizer

import strings
import tokenizer_families

COUNT = 10_000

if __name__ == "__main__":
    cache, shared, smollm2, seedling, out = map(pathlib.Path, sys.argv[1:6])
    families = tokenizer_families.build(cache, shared, smollm2, seedling)
    families = [family for family in families if family["name"] in sys.argv[6:] or len(sys.argv) == 6]
    for family in families:
        tokenizer = Tokenizer.from_file(str(pathlib.Path(family["folder"]) / "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        added = [token.content for _, token in sorted(tokenizer.get_added_tokens_decoder().items())]
        texts = strings.make_strings(COUNT, special_tokens=tuple(added))
        encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
        ids = [encoding.ids for encoding in encodings]
        whole = [encoding.ids for encoding in tokenizer.encode_batch(texts[:200], add_special_tokens=True)]
        expected = {
            "texts": texts,
            "ids": ids,
            "idsWithSpecials": whole,
            "spans": [encoding.offsets for encoding in encodings[:2_000]],
            "decoded": tokenizer.decode_batch(ids, skip_special_tokens=False),
            "decodedWithoutSpecials": tokenizer.decode_batch(ids, skip_special_tokens=True),
        }
        (out / f"{family['name']}.json").write_text(json.dumps(expected))
    print(json.dumps(families))
