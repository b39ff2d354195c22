"""Writes test/fixtures/sentencepiece: tiny models of every kind and the ids that the original gives.

    pip install sentencepiece==0.2.3
    python test/reference/make_sentencepiece_fixtures.py
"""

import io
import json
import pathlib
import sys
import tempfile

import sentencepiece

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "interop"))

import strings  # noqa: E402

OUT = ROOT / "fixtures" / "sentencepiece"
LONGEST = 100
# What a line replaces and by what, in hexadecimal: a small stand-in for nmt_nfkc, whose rules take 300 kB.
RULES = {
    "\t": " ", "\n": " ", "\r": " ", "\u3000": " ", "\u00a0": " ", "\u200b": " ", "\x7f": "", "\u00ad": "", "ﬁ": "fi", "①": "1", "ｆ": "f", "ｕ": "u", "ｌ": "l",
    "㍿": "株式会社", "e\u0301": "\u00e9", "\u304b\u3099": "\u304c", "ﾊﾟ": "パ", "\u2026": "...", "…\u2026": "......", "🏽": "", "𝟘": "0",
}  # fmt: skip

MODELS = {
    # InternLM2's settings: nothing is changed, and there is a byte for everything.
    "bpe-bytes": dict(model_type="bpe", vocab_size=620, byte_fallback=True, normalization_rule_name="identity", add_dummy_prefix=False, remove_extra_whitespaces=False, user_defined_symbols=["[UNUSED_TOKEN_141]", "[UNUSED_TOKEN_145]", "[UNUSED_TOKEN_146]"]),
    "bpe-symbols": dict(model_type="bpe", vocab_size=460, rules=True, user_defined_symbols=["<|im", "<|im_start|>", "你好", "12", "1", "a▁b", "▁▁", "\n"], control_symbols=["<ctl>"]),
    "unigram-bytes": dict(model_type="unigram", vocab_size=620, rules=True, byte_fallback=True, remove_extra_whitespaces=False, user_defined_symbols=["<|im_start|>", "12", "1"]),
    "unigram-suffix": dict(model_type="unigram", vocab_size=400, rules=True, treat_whitespace_as_suffix=True),
}  # fmt: skip


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    training = [text.replace("\0", "") for text in strings.make_strings(3_000, seed=11) if text.strip() and len(text) < 300]
    frequent = set("abcdefghijklmnopqrstuvwxyzABCDEFGHINOPQRSTUVW0123456789 .,;:!?'\"()[]{}<>|/_-=+*#\n\t的一是不了人我你好请做自介绍かがパéàü…")
    training = ["".join(char for char in text if char in frequent) for text in training]
    special = ("<s>", "<unk>", "<ctl>", "<|im_start|>", "[UNUSED_TOKEN_146]")
    texts = [text for text in strings.make_strings(600, special_tokens=special) if len(text) <= LONGEST][:240]
    expected = {"texts": texts, "ids": {}, "decoded": {}}
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:
        for source, target in RULES.items():
            rules.write("\t".join(" ".join(f"{ord(char):X}" for char in text) for text in (source, target)) + "\n")
        rules.flush()
        for name, options in MODELS.items():
            written = io.BytesIO()
            options = dict(options)
            if options.pop("rules", False):
                options["normalization_rule_tsv"] = rules.name
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter([text for text in training if text.strip()]), model_writer=written, num_threads=1, minloglevel=2, character_coverage=1.0, **options
            )
            model = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())
            (OUT / f"{name}.model").write_bytes(written.getvalue())
            expected["ids"][name] = [model.encode(text) for text in texts]
            expected["decoded"][name] = [model.decode(ids) for ids in expected["ids"][name]]
    (OUT / "expected.json").write_text(json.dumps(expected, separators=(",", ":"), ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main()
