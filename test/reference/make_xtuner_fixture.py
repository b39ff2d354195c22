"""Writes test/fixtures/torch/trajectory/xtuner.json: XTuner's accumulation on the tiny Llama, in PyTorch.

    python test/reference/make_xtuner_fixture.py

A mean over each micro-batch's own labels, divided by the micro-batches of its group; the last group has
what is left over. The rate of an optimizer step is that of its group's last iteration. The weights, the
adapter and the micro-batches are those of make_fixtures.py.
"""

import json
import math

import torch

from make_fixtures import CONFIGS, MICRO_BATCHES, OUT, make_documents, through_nf4
from tiny_llama import forward, in_dtype, loss_sum, random_adapter, random_weights

ITERATIONS, GROUP = 11, 4
LR, WARMUP_RATIO, MAX_NORM = 1e-2, 0.2, 1.0


def rates():
    """LinearLR from 1e-5 of the peak, then CosineAnnealingLR to 0, each stepped every iteration."""
    warm = int(WARMUP_RATIO * ITERATIONS)
    climb = [LR * (1e-5 + (1 - 1e-5) * i / (warm - 1)) for i in range(warm)]
    fall = ITERATIONS - warm
    return climb + [LR * (1 + math.cos(math.pi * i / fall)) / 2 for i in range(fall)]


def main():
    torch.set_num_threads(1)
    config = CONFIGS["tiny-llama"]
    weights, _ = through_nf4(config, random_weights(config, seed=1))
    weights = in_dtype(weights, torch.float64)
    adapter = in_dtype(random_adapter(config, seed=30, zero_b=True), torch.float64, trained=True)
    batches = [
        make_documents(lengths, seed, prompt_share)
        for seed, (lengths, prompt_share) in enumerate(MICRO_BATCHES, start=50)
    ]
    optimizer = torch.optim.AdamW(adapter.values(), lr=LR, weight_decay=0.0)
    losses, norms, labels = [], [], []
    rest = ITERATIONS % GROUP
    for i, rate in enumerate(rates()):
        batch = batches[i % len(batches)]
        total, count = loss_sum(forward(config, weights, adapter, batch), batch.targets)
        loss = total / count
        (loss / (GROUP if i < ITERATIONS - rest else rest)).backward()
        losses.append(loss.item())
        labels.append(count)
        if (i + 1) % GROUP == 0 or i + 1 == ITERATIONS:
            norms.append(torch.nn.utils.clip_grad_norm_(adapter.values(), MAX_NORM).item())
            optimizer.param_groups[0]["lr"] = rate
            optimizer.step()
            optimizer.zero_grad()
    assert len(set(labels)) > 1, "with equal counts no weighting would show"
    after = sum(tensor.square().sum() for tensor in adapter.values()).sqrt().item()
    settings = {"iterations": ITERATIONS, "group": GROUP, "lr": LR, "warmupRatio": WARMUP_RATIO, "maxNorm": MAX_NORM}
    values = {**settings, "losses": losses, "gradientNorms": norms, "adapterNorm": after}
    (OUT / "trajectory" / "xtuner.json").write_text(json.dumps(values, indent=1) + "\n")


if __name__ == "__main__":
    main()
