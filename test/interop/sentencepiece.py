"""SentencePiece models trained here, and one real one, with the ids that the original gives.

    sentencepiece.py make OUT [REAL_MODEL]    writes OUT/NAME.model and OUT/NAME.json for each; prints their names
    sentencepiece.py check OUT                encodes by OUT/NAME/tokenizer.json with Python's tokenizers; prints
                                              for each name how many texts become other ids than the model's
"""

import io
import itertools
import json
import logging
import pathlib
import re
import sys
from collections import Counter

import sentencepiece
import tokenizers
import transformers

import strings

COUNT = 10_000
SYMBOLS = ["<|im_start|>", "<|im", "abc", "你好", " of ", "\n\n", "a▁b", "12", "1", "①", "[X]", "▁▁"]
CONTROLS = ["<ctl>", "<|endoftext|>"]
# InternLM2's chat tokens, which its tokenizer_config.json puts over unused symbols.
CHAT_TOKENS = {92538: "<|plugin|>", 92539: "<|interpreter|>", 92540: "<|action_end|>", 92541: "<|action_start|>", 92542: "<|im_end|>", 92543: "<|im_start|>"}


def corpus() -> list[str]:
    roots = [pathlib.Path(module.__file__).parent for module in (json, logging)]
    texts = [line for root in roots for path in sorted(root.glob("*.py")) for line in path.read_text().split("\n")]
    texts += strings.make_strings(3_000, seed=7)
    # The trainer refuses NUL. Rare characters are left out, so that the tests see unknown ones.
    frequent = {char for char, _ in Counter(char for text in texts for char in text).most_common(700)} - {"\0"}
    return [text for text in ("".join(char for char in text if char in frequent) for text in texts) if text.strip()]


def options() -> dict[str, dict]:
    listed = {}
    for kind in ("bpe", "unigram"):
        # Of the sixteen ways, eight in which every three of the settings meet in every way.
        for fallback, prefix, rule in itertools.product((False, True), (False, True), ("nmt_nfkc", "identity")):
            remove = fallback ^ prefix ^ (rule == "nmt_nfkc")
            flags = [name for name, on in [("bytes", fallback), ("prefix", prefix), (rule, True), ("trimmed", remove)] if on]
            size = 1_300 + 256 * fallback
            listed["-".join([kind, *flags])] = dict(
                model_type=kind, vocab_size=size, byte_fallback=fallback, add_dummy_prefix=prefix,
                normalization_rule_name=rule, remove_extra_whitespaces=remove,
            )  # fmt: skip
        symbols = dict(model_type=kind, vocab_size=1_700, byte_fallback=True, user_defined_symbols=SYMBOLS, control_symbols=CONTROLS)
        listed[f"{kind}-symbols-nmt_nfkc"] = symbols
        listed[f"{kind}-symbols-identity"] = symbols | dict(normalization_rule_name="identity", remove_extra_whitespaces=False)
        listed[f"{kind}-suffix"] = dict(model_type=kind, vocab_size=1_300, treat_whitespace_as_suffix=True)
        listed[f"{kind}-whole-lines"] = dict(
            model_type=kind, vocab_size=1_500, normalization_rule_name="nmt_nfkc_cf", split_by_whitespace=False,
            allow_whitespace_only_pieces=True, split_digits=True, split_by_unicode_script=False,
        )  # fmt: skip
    return listed


def split_at(tokens: dict[str, int], text: str) -> list[str]:
    """A text and its special tokens in turn, the longest first."""
    pattern = "|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True))
    return re.split(f"({pattern})", text)


def describe(model: sentencepiece.SentencePieceProcessor, chat: dict[int, str]) -> dict:
    special = {model.id_to_piece(i): i for i in range(len(model)) if model.is_control(i) or model.is_unknown(i)}
    special |= {token: i for i, token in chat.items()}
    texts = strings.make_strings(COUNT, special_tokens=(*special, *(SYMBOLS if not chat else ["[UNUSED_TOKEN_145]"])))

    # Long enough for sums of scores to leave what a 32-bit float holds well.
    texts[-1] = " ".join(texts[:1_500])

    def encode(text: str) -> list[int]:
        parts = split_at(special, text)
        return [i for part in parts for i in ([special[part]] if part in special else model.encode(part) if part else [])]

    plain = [model.encode(text) for text in texts]
    return {"texts": texts, "ids": plain, "idsWithTokens": [encode(text) for text in texts], "decoded": [model.decode(ids) for ids in plain]}


def make(out: pathlib.Path, real: str | None) -> None:
    lines = corpus()
    models = {}
    for name, wanted in options().items():
        written = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_writer=written, character_coverage=0.9995, minloglevel=2, num_threads=1, **wanted
        )
        models[name] = written.getvalue()
    if real:
        models["internlm2"] = pathlib.Path(real).read_bytes()
    for name, content in models.items():
        (out / f"{name}.model").write_bytes(content)
        described = describe(sentencepiece.SentencePieceProcessor(model_proto=content), CHAT_TOKENS if name == "internlm2" else {})
        (out / f"{name}.json").write_text(json.dumps(described))
    print(json.dumps(list(models)))


def check(out: pathlib.Path) -> None:
    different = {}
    for folder in sorted(path for path in out.iterdir() if path.is_dir()):
        expected = json.loads((out / f"{folder.name}.json").read_text())
        texts, ids = expected["texts"], expected["idsWithTokens"]
        tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        found = [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
        # Files that transformers takes for something else are no use to anybody.
        auto = transformers.AutoTokenizer.from_pretrained(folder)
        same = [auto.encode(text, add_special_tokens=False) == found[i] for i, text in enumerate(texts[:200])]
        texts = [texts[i] for i in range(COUNT) if found[i] != ids[i]]
        different[folder.name] = {"texts": texts, "auto": same.count(False), "size": len(auto)}
    print(json.dumps(different))


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(pathlib.Path(sys.argv[2]), *(sys.argv[3:] or [None]))
    else:
        check(pathlib.Path(sys.argv[2]))
