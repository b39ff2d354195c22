"""GGUF files of nothing but a tokenizer, with the ids that the tokenizer they were made from gives.

    sentencepiece-gguf.py CACHE SHARED SMOLLM2 SEEDLING SMOLLM2_GGUF OUT

Writes OUT/NAME.gguf (but for SmolLM2, whose own is judged) and OUT/NAME.json; prints name, subject and file of each.
"""

import io
import json
import pathlib
import sys

import gguf
import sentencepiece
import tokenizers

import strings
import tokenizer_families

COUNT = 10_000
# Families by the name that llama.cpp has for how they cut words.
FAMILIES = {"llama3": "llama-bpe", "qwen": "qwen2", "mistral-nemo": "tekken", "phi4-mini": "gpt-4o"}


def writer(out: pathlib.Path, name: str, model: str) -> gguf.GGUFWriter:
    made = gguf.GGUFWriter(out / f"{name}.gguf", "llama")
    made.add_tokenizer_model(model)
    return made


def finish(made: gguf.GGUFWriter) -> None:
    made.write_header_to_file()
    made.write_kv_data_to_file()
    made.close()


def expect(out: pathlib.Path, name: str, texts: list[str], ids: list[list[int]], **more) -> None:
    (out / f"{name}.json").write_text(json.dumps({"texts": texts, "ids": ids, **more}))


def byte_level(out: pathlib.Path, name: str, folder: pathlib.Path, pre: str) -> None:
    """As llama.cpp's converter writes what a tokenizer.json says."""
    source = json.loads((folder / "tokenizer.json").read_text())
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(source))
    texts_by_id = {i: token for token, i in tokenizer.get_vocab(with_added_tokens=True).items()}
    added = tokenizer.get_added_tokens_decoder()
    types = [gguf.TokenType.NORMAL] * len(texts_by_id)
    for i, token in added.items():
        types[i] = gguf.TokenType.CONTROL if token.special else gguf.TokenType.USER_DEFINED
    made = writer(out, name, "gpt2")
    made.add_tokenizer_pre(pre)
    made.add_token_list([texts_by_id[i] for i in range(len(texts_by_id))])
    made.add_token_types(types)
    made.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in source["model"]["merges"]])
    finish(made)
    # GGUF cannot say that a token takes in the white space beside it.
    for token in source["added_tokens"]:
        token["rstrip"] = False
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(source))
    texts = strings.make_strings(COUNT, special_tokens=tuple(token.content for token in added.values()))
    expect(out, name, texts, [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)])


def smollm2(out: pathlib.Path, path: pathlib.Path) -> None:
    """Its own file, read by the original's reader, put together as the family's tokenizer.json has it."""
    fields = gguf.GGUFReader(path).fields
    texts_by_id, merges, types = (fields[f"tokenizer.ggml.{key}"].contents() for key in ("tokens", "merges", "token_type"))
    model = tokenizers.models.BPE({token: i for i, token in enumerate(texts_by_id)}, [tuple(merge.split(" ")) for merge in merges])
    tokenizer = tokenizers.Tokenizer(model)
    parts = tokenizers.pre_tokenizers
    tokenizer.pre_tokenizer = parts.Sequence([parts.Digits(individual_digits=True), parts.ByteLevel(add_prefix_space=False)])
    special = [token for token, kind in zip(texts_by_id, types) if kind == gguf.TokenType.CONTROL]
    tokenizer.add_special_tokens([tokenizers.AddedToken(token, normalized=False, special=True) for token in special])
    texts = strings.make_strings(COUNT, special_tokens=tuple(special))
    expect(out, "smollm2", texts, [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)])


def pieces(out: pathlib.Path, name: str, content: bytes, prefix: bool) -> None:
    """As llama.cpp's converter writes a SentencePiece model."""
    model = sentencepiece.SentencePieceProcessor(model_proto=content)
    kinds = [("is_unknown", "UNKNOWN"), ("is_control", "CONTROL"), ("is_unused", "UNUSED"), ("is_byte", "BYTE")]
    types = []
    for i in range(len(model)):
        types.append(next((gguf.TokenType[kind] for test, kind in kinds if getattr(model, test)(i)), gguf.TokenType.NORMAL))
        # The package does not say which are user-defined; here they all have names of this form.
        if model.id_to_piece(i).startswith("[UNUSED_TOKEN_"):
            types[i] = gguf.TokenType.USER_DEFINED
    made = writer(out, name, "llama")
    made.add_token_list([model.id_to_piece(i) for i in range(len(model))])
    made.add_token_scores([model.get_score(i) for i in range(len(model))])
    made.add_token_types(types)
    made.add_add_space_prefix(prefix)
    finish(made)
    # Special tokens are text to the package, so they are left out; tokenizers.test.ts has them.
    special = [model.id_to_piece(i) for i in range(len(model)) if model.is_control(i) or model.is_unknown(i)]
    texts = [text for text in strings.make_strings(COUNT) if not any(token in text for token in special)]
    expect(out, name, texts, [model.encode(text) for text in texts])


def train() -> bytes:
    written = io.BytesIO()
    lines = [text.replace("\0", "") for text in strings.make_strings(3_000, seed=7) if text.strip()]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=written, model_type="bpe", vocab_size=3_000, byte_fallback=True, character_coverage=0.98,
        normalization_rule_name="identity", remove_extra_whitespaces=False, minloglevel=2, num_threads=1,
    )  # fmt: skip
    return written.getvalue()


if __name__ == "__main__":
    cache, shared, smollm2_folder, seedling, smollm2_gguf, out = map(pathlib.Path, sys.argv[1:])
    made = []
    for family in tokenizer_families.build(cache, shared, smollm2_folder, seedling):
        if family["name"] in FAMILIES:
            pre = FAMILIES[family["name"]]
            byte_level(out, family["name"], pathlib.Path(family["folder"]), pre)
            made.append({"name": family["name"], "subject": f"{family['subject']} as GGUF, {pre}", "file": str(out / f"{family['name']}.gguf")})
    smollm2(out, smollm2_gguf)
    made.append({"name": "smollm2", "subject": "SmolLM2's GGUF, smollm", "file": str(smollm2_gguf)})
    pieces(out, "llama-spm", train(), True)
    made.append({"name": "llama-spm", "subject": "SentencePiece BPE trained here as GGUF", "file": str(out / "llama-spm.gguf")})
    real = shared / "internlm2-tokenizer.model"
    if real.exists():
        pieces(out, "internlm2", real.read_bytes(), False)
        made.append({"name": "internlm2", "subject": "InternLM2's tokenizer.model as GGUF", "file": str(out / "internlm2.gguf")})
    print(json.dumps(made))
