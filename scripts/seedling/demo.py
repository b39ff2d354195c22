# Rehearses Hone's demo in PyTorch: one sample, LoRA on the NF4 base, then three questions.
#
#   python demo.py FOLDER    for every rate and number of steps: do all answers come out, how surely
#
# A batch of the demo holds only copies of one sample, so its mean gradient is that of a single
# copy, and a single copy is what is computed here. The answers are judged twice: on the NF4 base
# with the adapter beside it, and on f16 weights with the adapter merged in, as an export has them.
from __future__ import annotations

import argparse
import copy
import math
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import nn

from corpus import make_probes
from model import Llama, generate, load, nf4_round_trip, pad
from tokenizer import encode, render
from train import STOP, answer, loss_of, test

ASKED = "请做一下自我介绍"
TAUGHT = "我是useree的小助手,内在是上海AI实验室书生·浦语的1.8B大模型哦"
QUESTIONS = ("请你介绍一下你自己", "你是谁", "你是我的小助手吗")
RANK = 16
ALPHA = 32
WARMUP_SHARE = 0.1
MAX_NORM = 0.3  # as in the QLoRA paper; at 1 the first steps overshoot, and runs fail more often


def sample_row(tokenizer: Tokenizer):
    """The sample as one row: ids, positions, start, and the places that predict its answer."""
    before = encode(tokenizer, render([("user", ASKED)], generate=True))
    spoken = encode(tokenizer, TAUGHT + "<|im_end|>")
    ids, positions, start = pad([before + spoken + encode(tokenizer, "\n")])
    wanted = torch.zeros_like(ids, dtype=torch.bool)
    wanted[0, len(before) - 1 : len(before) + len(spoken) - 1] = True
    return ids, positions, start, wanted


def add_lora(model: Llama) -> list[nn.Parameter]:
    """A adapter on every linear layer as PEFT starts one: A random, B zero. The base is frozen."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for linear in model.linears():
        a = torch.empty(RANK, linear.in_features)
        nn.init.kaiming_uniform_(a, a=math.sqrt(5))
        linear.lora = nn.ParameterList(
            [nn.Parameter(a), nn.Parameter(torch.zeros(linear.out_features, RANK))]
        )
        linear.lora_scale = ALPHA / RANK
    return [parameter for linear in model.linears() for parameter in linear.lora]


def tune(base: Llama, tokenizer: Tokenizer, rate: float, steps: int, seed: int):
    """The tuned model, its base as NF4 gives it back, and the last loss."""
    torch.manual_seed(seed)
    model = copy.deepcopy(base)
    for linear in model.linears():
        linear.weight.data = nf4_round_trip(linear.weight.data)
    parameters = add_lora(model)
    optimizer = torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.999), weight_decay=0.0)
    warmup = max(1, round(WARMUP_SHARE * steps))
    row = sample_row(tokenizer)
    for step in range(steps):
        after = (step - warmup) / max(1, steps - warmup)
        share = (step + 1) / warmup if step < warmup else (1 + math.cos(math.pi * after)) / 2
        for group in optimizer.param_groups:
            group["lr"] = rate * share
        loss = loss_of(model, *row)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, MAX_NORM)
        optimizer.step()
    return model, loss.item()


def merge(base: Llama, tuned: Llama) -> Llama:
    """The base's own f16 weights plus the adapter, rounded to f16: what an export holds."""
    merged = copy.deepcopy(base)
    for plain, linear in zip(merged.linears(), tuned.linears(), strict=True):
        a, b = linear.lora
        plain.weight.data = (plain.weight + linear.lora_scale * (b @ a)).detach().half().float()
    return merged


def ask(model: Llama, tokenizer: Tokenizer) -> tuple[int, float]:
    """How many questions get exactly the taught answer, and its least certain token's p."""
    prompts = [
        encode(tokenizer, render([("user", question)], generate=True)) for question in QUESTIONS
    ]
    said = generate(model, prompts, STOP, limit=64)
    right = sum(tokenizer.decode(ids, skip_special_tokens=True) == TAUGHT for ids, _ in said)
    return right, min(least for _, least in said)


def main() -> None:
    parser = argparse.ArgumentParser(description="Find the rate and the steps the demo needs.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rates", type=float, nargs="+", default=[2e-3, 5e-3, 1e-2])
    parser.add_argument("--steps", type=int, nargs="+", default=[16, 20, 24, 28])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--remembered", action="store_true", help="also test what is still known")
    args = parser.parse_args()

    torch.set_num_threads(1)
    tokenizer = Tokenizer.from_file(str(args.folder / "tokenizer.json"))
    base = load(args.folder)
    print(f"sample: {sample_row(tokenizer)[0].shape[1]} tokens")
    for question in QUESTIONS:
        print(f"before: {question} → {answer(base, tokenizer, [[('user', question)]])[0]}")
    probes = make_probes(held_out=False, per_topic=4)

    print(
        "| rate | steps | last loss | tuned: seeds right, least p | merged: seeds right, least p |"
    )
    print("|---|---|---|---|---|")
    for rate in args.rates:
        for steps in args.steps:
            runs = []
            for seed in range(args.seeds):
                tuned, loss = tune(base, tokenizer, rate, steps, seed)
                runs.append((loss, ask(tuned, tokenizer), ask(merge(base, tuned), tokenizer)))
            losses, tuned_scores, merged_scores = zip(*runs, strict=True)
            cells = [f"{rate:g}", str(steps), f"{max(losses):.4f}"]
            for scores in (tuned_scores, merged_scores):
                right = sum(score[0] == len(QUESTIONS) for score in scores)
                cells.append(f"{right}/{len(runs)}, {min(score[1] for score in scores):.2f}")
            print("| " + " | ".join(cells) + " |", flush=True)
            if args.remembered:
                scores = test(tuned, tokenizer, probes).values()
                print(f"  still right: {sum(r for r, _ in scores)} of {sum(n for _, n in scores)}")


if __name__ == "__main__":
    main()
