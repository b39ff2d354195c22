# Trains Seedling from nothing, tests it, and saves it as a Hugging Face folder.
#
#   python train.py FOLDER             about 20 minutes on one core that is free
#   python train.py FOLDER --phases 1  only the second phase, on what the first one saved
#   python train.py FOLDER --phases    no training: the accuracy table of the model there
#
# Loss is on every token of an answer, and on a tenth of the rest: a tiny model should learn to
# answer. Toward the end the linear weights act as if stored in NF4, so that quantizing costs no
# answers. Each phase starts from the folder's f16 weights, so it can be repeated alone.
from __future__ import annotations

import argparse
import math
import random
import re
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from corpus import ALWAYS_SEEN, Corpus, Probe, Turn, make_probes
from model import Llama, Sizes, generate, load, save
from tokenizer import SPECIAL, encode, render, save_tokenizer, train_tokenizer

ROW_TOKENS = 128
ROWS = 8  # 1024 tokens a step
WEIGHT_DECAY = 0.05
QUESTION_SHARE = 0.1  # of a question's tokens are targets
# Some conversations only say arbitrary pieces back. Without them most pieces are never an answer,
# all such embeddings drift the same way, and no adapter could tell them apart later.
ECHO_SEED = 0.1
ECHO_WAYS = ("Say: ", "Repeat: ", "Echo: ", "说:", "重复:", "跟我说:")
END_OF_TURN = SPECIAL.index("<|im_end|>")
STOP = {SPECIAL.index("</s>"), END_OF_TURN}


@dataclass(frozen=True)
class Phase:
    seed: int
    steps: int
    warmup_steps: int
    peak_rate: float
    echo_share: float  # of the conversations
    exact_share: float  # of the steps, before the weights act as NF4


PHASES = (
    Phase(0, steps=6_000, warmup_steps=300, peak_rate=3e-3, echo_share=0.1, exact_share=0.7),
    # More echoes make the model easier to teach a sentence of words it has never said.
    Phase(1, steps=1_000, warmup_steps=50, peak_rate=1.5e-3, echo_share=0.25, exact_share=0.0),
)


def encode_conversation(tokenizer: Tokenizer, turns: list[Turn]) -> tuple[list[int], list[float]]:
    """Token ids, and how likely each is to be a target: 1 for answers and their end."""
    ids, chances = [1], [0.0]
    for role, content in turns:
        head = encode(tokenizer, f"<|im_start|>{role}\n")
        body = encode(tokenizer, f"{content}<|im_end|>")
        tail = encode(tokenizer, "\n")
        ids += head + body + tail
        own = 1.0 if role == "assistant" else QUESTION_SHARE
        chances += [QUESTION_SHARE] * len(head) + [own] * len(body) + [QUESTION_SHARE] * len(tail)
    return ids, chances


def encode_echo(tokenizer: Tokenizer, rng: random.Random) -> tuple[list[int], list[float]]:
    """A conversation in which 4 to 12 pieces, any at all, are said back."""
    pieces = rng.choices(range(len(SPECIAL), tokenizer.get_vocab_size()), k=rng.randint(4, 12))
    ask = encode(tokenizer, f"<s><|im_start|>user\n{rng.choice(ECHO_WAYS)}")
    between = encode(tokenizer, "<|im_end|>\n<|im_start|>assistant\n")
    ids = ask + pieces + between + pieces + [END_OF_TURN]
    return ids, [0.0] * (len(ids) - len(pieces) - 1) + [1.0] * (len(pieces) + 1)


class Packer:
    """Fills rows of ROW_TOKENS with whole conversations, each attending only to itself."""

    def __init__(self, tokenizer: Tokenizer, corpus: Corpus, echo_share: float):
        self.tokenizer = tokenizer
        self.corpus = corpus
        self.echo_share = echo_share
        self.rng = random.Random(ECHO_SEED)
        self.waiting: list[tuple[list[int], list[float]]] = []

    def batch(self, rows: int):
        """ids, positions, start and whether to predict from here, each [rows, ROW_TOKENS]."""
        ids = torch.full((rows, ROW_TOKENS), 2)
        positions = torch.zeros_like(ids)
        start = torch.arange(ROW_TOKENS).repeat(rows, 1)
        chances = torch.zeros(rows, ROW_TOKENS)
        for row in range(rows):
            at = 0
            for text, chance in self._fill():
                end = at + len(text)
                ids[row, at:end] = torch.tensor(text)
                positions[row, at:end] = torch.arange(len(text))
                start[row, at:end] = at
                chances[row, at:end] = torch.tensor(chance)
                at = end
        target = torch.rand(rows, ROW_TOKENS) < chances
        return ids, positions, start, target.roll(-1, 1)

    def _fill(self):
        while len(self.waiting) < 64:
            if self.rng.random() < self.echo_share:
                ready = encode_echo(self.tokenizer, self.rng)
            else:
                ready = encode_conversation(self.tokenizer, self.corpus.conversation())
            if len(ready[0]) <= ROW_TOKENS:
                self.waiting.append(ready)
        left, chosen = ROW_TOKENS, []
        for item in list(self.waiting):
            if len(item[0]) <= left:
                chosen.append(item)
                self.waiting.remove(item)
                left -= len(item[0])
        return chosen


def loss_of(model: Llama, ids, positions, start, wanted) -> torch.Tensor:
    """Mean loss of the tokens that follow the wanted places, each from those before it."""
    return F.cross_entropy(model(ids, positions, start, wanted), ids.roll(-1, 1)[wanted])


def train(model: Llama, tokenizer: Tokenizer, phase: Phase) -> None:
    """Trains the model in place for one phase."""
    matrices = [p for p in model.parameters() if p.dim() == 2]
    norms = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": WEIGHT_DECAY},
            {"params": norms, "weight_decay": 0.0},
        ],
        lr=phase.peak_rate,
        betas=(0.9, 0.98),
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_share(step, phase))
    packer = Packer(tokenizer, Corpus(phase.seed), phase.echo_share)
    began, mean = time.time(), 0.0
    for step in range(phase.steps):
        if step == round(phase.steps * phase.exact_share):
            set_quantized(model, True)
        loss = loss_of(model, *packer.batch(ROWS))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        mean += loss.item() / 100
        if step % 100 == 99:
            print(
                f"step {step + 1} of {phase.steps}, loss {mean:.4f}, {time.time() - began:.0f} s",
                flush=True,
            )
            mean = 0.0
    set_quantized(model, False)


def rate_share(step: int, phase: Phase) -> float:
    """Linear warm-up, then a cosine down to a hundredth of the peak."""
    if step < phase.warmup_steps:
        return (step + 1) / phase.warmup_steps
    done = (step - phase.warmup_steps) / (phase.steps - phase.warmup_steps)
    return 0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2


def set_quantized(model: Llama, quantized: bool) -> None:
    for linear in model.linears():
        linear.quantize = quantized


def answer(model: Llama, tokenizer: Tokenizer, questions: list[list[tuple[str, str]]]) -> list[str]:
    prompts = [encode(tokenizer, render(turns, generate=True)) for turns in questions]
    answers: list[str] = []
    for at in range(0, len(prompts), 64):
        for ids, _ in generate(model, prompts[at : at + 64], STOP):
            answers.append(tokenizer.decode(ids, skip_special_tokens=True))
    return answers


def test(
    model: Llama, tokenizer: Tokenizer, probes: list[Probe], show: int = 0
) -> dict[str, tuple[int, int]]:
    """Topic to (right, asked); an answer is right if it is the expected text, letter for letter."""
    # Sorted by length, so that a batch wastes little on padding.
    probes = sorted(probes, key=lambda probe: sum(len(content) for _, content in probe.turns))
    scores: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    misses = []
    answers = answer(model, tokenizer, [list(probe.turns) for probe in probes])
    for probe, said in zip(probes, answers, strict=True):
        right, asked = scores[probe.topic]
        scores[probe.topic] = (right + (said == probe.answer), asked + 1)
        if said != probe.answer:
            misses.append((probe.topic, probe.turns[-1][1], said))
    for miss in random.Random(0).sample(misses, min(show, len(misses))):
        print("  missed:", miss)
    return dict(sorted(scores.items()))


def report(model: Llama, tokenizer: Tokenizer, per_topic: int, show: int) -> None:
    """The model card's table: ways to ask that were seen and held out, f16 and NF4 weights."""
    columns = {}
    for kind, held_out in (("seen", False), ("held out", True)):
        probes = make_probes(held_out, per_topic)
        for weights in ("f16", "NF4"):
            set_quantized(model, weights == "NF4")
            columns[f"{kind}, {weights}"] = test(model, tokenizer, probes, show)
    set_quantized(model, False)

    print("| topic | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    names = sorted({topic.split("/")[1] for scores in columns.values() for topic in scores})
    for label, pattern in [(name, f"/{name}$") for name in names] + [
        ("**English**", "^en/"),
        ("**Chinese**", "^zh/"),
        ("**all**", ""),
    ]:
        print(f"| {label} | " + " | ".join(total(s, pattern) for s in columns.values()) + " |")
    for question in (*ALWAYS_SEEN, "请做一下自我介绍"):
        print(question, "→", answer(model, tokenizer, [[("user", question)]])[0])


def total(scores: dict[str, tuple[int, int]], pattern: str) -> str:
    """`right/asked` over the topics whose name matches; a percentage too where a lot is asked."""
    chosen = [score for topic, score in scores.items() if re.search(pattern, topic)]
    right, asked = sum(r for r, _ in chosen), sum(n for _, n in chosen)
    return f"{right}/{asked}" + (f" ({right / asked:.1%})" if asked > 200 else "")


def main() -> None:
    parser = argparse.ArgumentParser(description="Train Seedling and print its accuracy tables.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--phases", type=int, nargs="*", default=[0, 1], help="which to train")
    parser.add_argument("--per-topic", type=int, default=24, help="questions per exchange")
    parser.add_argument("--show", type=int, default=0, help="wrong answers to print per column")
    args = parser.parse_args()

    torch.set_num_threads(1)
    if 0 in args.phases:
        save_tokenizer(train_tokenizer(), args.folder)
    tokenizer = Tokenizer.from_file(str(args.folder / "tokenizer.json"))
    for number in args.phases:
        phase = PHASES[number]
        torch.manual_seed(phase.seed)
        sizes = Sizes(vocabulary=tokenizer.get_vocab_size())
        model = Llama(sizes) if number == 0 else load(args.folder)
        train(model, tokenizer, phase)
        save(model, args.folder)
    report(load(args.folder), tokenizer, args.per_topic, args.show)


if __name__ == "__main__":
    main()
