"""Writes test/fixtures/torch: what PyTorch says a LoRA on a frozen Llama computes.

Run it from the root of the repository, with any Python that has torch, numpy and safetensors:

    python test/reference/make_fixtures.py

It is the other side of every numeric test, so it shares nothing with src/: the model and LoRA
(tiny_llama.py) and NF4 (nf4.py) are written here again, in PyTorch and NumPy, and gradients are
autograd's. Everything is computed in f64 and stored in f32, so that where the fixture and Hone
differ, the fixture is the better side. The training trajectory is also run in f32.

The files and their tensors are listed in test/fixtures/torch/README.md.
"""

import json
import math
from pathlib import Path

import torch
from safetensors.torch import save_file

from nf4 import check_nf4_against_the_worked_example, quantize_nf4, sha256
from tiny_llama import (
    ALPHA,
    NO_TARGET,
    RANK,
    Batch,
    evaluate,
    forward,
    in_dtype,
    linear_names,
    linear_shapes,
    loss_sum,
    random_adapter,
    random_weights,
)
from vectors import small_vectors

OUT = Path(__file__).resolve().parent.parent / "fixtures" / "torch"

IGNORED = -100  # in labels that are not shifted yet: nothing to learn here

BASE_CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 301,  # ragged on purpose
    "hidden_size": 128,
    "intermediate_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 256,
    "attention_bias": False,
    "mlp_bias": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
    "torch_dtype": "float32",
}

CONFIGS = {
    # Head size 32, not written down: it follows from hidden_size / heads.
    "tiny-llama": {
        **BASE_CONFIG,
        "rope_theta": 10000.0,
        "rope_scaling": None,
        "tie_word_embeddings": False,
    },
    # 4 heads of 48 are 192, which is not the hidden size. With an original length of 32, one of
    # the 24 frequencies stays, two lie between, and the others are divided by 8.
    "tiny-llama3": {
        **BASE_CONFIG,
        "head_dim": 48,
        "rope_theta": 500000.0,
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        },
        "tie_word_embeddings": True,
    },
}


def main():
    torch.set_num_threads(1)
    check_nf4_against_the_worked_example()
    OUT.mkdir(parents=True, exist_ok=True)

    batch = make_batch()
    write_json("inputs.json", batch.as_json())

    losses, quantized = {}, {}
    for seed, (name, config) in enumerate(CONFIGS.items(), start=1):
        weights = random_weights(config, seed)
        adapter = random_adapter(config, seed=seed + 10)
        write_model(name, config, weights)
        write_adapter(f"{name}-adapter", name, adapter)
        nf4, quantized[name] = through_nf4(config, weights)
        for base, through in (("none", weights), ("nf4", nf4)):
            logits, loss, gradients = evaluate(config, through, adapter, batch)
            write_tensors(f"expected/{name}-{base}-logits", {"logits": logits})
            write_tensors(f"expected/{name}-{base}-gradients", gradients)
            losses[f"{name}-{base}"] = loss
    labels = int((batch.targets != NO_TARGET).sum())
    write_json("expected/losses.json", {"labelTokens": labels, "losses": losses})
    write_json("nf4.json", quantized)

    write_trajectory(CONFIGS["tiny-llama"])
    write_json("vectors.json", small_vectors())



# --- Inputs ---

def make_documents(lengths, seed, prompt_share, vocabulary=301):
    """Documents of random tokens; the first part of each is a prompt and has no labels."""
    generator = torch.Generator().manual_seed(seed)
    ids, labels, targets, positions, starts = [], [], [], [], []
    for length in lengths:
        tokens = torch.randint(3, vocabulary, (length,), generator=generator).tolist()
        prompt = max(1, int(length * prompt_share))
        known = [IGNORED] * prompt + tokens[prompt:]
        starts += [len(ids)] * length
        ids += tokens
        labels += known
        targets += [NO_TARGET if label == IGNORED else label for label in known[1:]] + [NO_TARGET]
        positions += range(length)
    return Batch(*map(torch.tensor, (ids, labels, targets, positions, starts)))


def make_batch():
    """77 tokens in three rows of 29, 17 + 11 and 20: the second row packs two documents."""
    batch = make_documents([29, 17, 11, 20], seed=77, prompt_share=0.3)
    # Rotary embedding only sees differences of positions, so a model that ignored `positions`
    # would still be right. A gap in the last document, which no data makes, catches it.
    batch.positions[67:] += 30
    return batch


def through_nf4(config, weights):
    """The weights that training sees, dequant(NF4(W)), and a digest of what is stored.

    Every linear layer of the blocks is quantized. Embeddings, norms and the head are not.
    """
    through, digests = dict(weights), {}
    for name in linear_names(config):
        weight = weights[f"{name}.weight"]
        stored = quantize_nf4(weight.numpy().reshape(-1))
        through[f"{name}.weight"] = torch.from_numpy(stored.dequantize()).view(weight.shape)
        digests[f"{name}.weight"] = {
            "packedSha256": sha256(stored.packed),
            "quantizedAbsmaxSha256": sha256(stored.quantized_absmax),
            "nestedAbsmax": [float(value) for value in stored.nested_absmax],
            "offset": float(stored.offset),
            "dequantizedSha256": sha256(stored.dequantize()),
        }
    return through, digests


# --- Thirty steps of training ---

STEPS, WARMUP_STEPS, PEAK_RATE, MAX_NORM = 30, 3, 1e-2, 1.0

# Lengths of the documents and the share of each that is prompt. All have 48 tokens, but the two
# of a step differ much in labels: a mean of their means would be another loss.
MICRO_BATCHES = [([24, 24], 0.9), ([48], 0.1), ([5, 17, 26], 0.2), ([11] * 4 + [4], 0.8)]


def learning_rate(step):
    """Linear warm-up, then half a cosine down to nearly zero. `step` counts from 0."""
    if step < WARMUP_STEPS:
        return PEAK_RATE * (step + 1) / WARMUP_STEPS
    progress = (step - WARMUP_STEPS) / (STEPS - WARMUP_STEPS)
    return PEAK_RATE * 0.5 * (1 + math.cos(math.pi * progress))


def train(config, weights, start, batches, rates, dtype):
    """AdamW on the adapter, two passes a step. Returns losses, gradient norms and the adapter."""
    weights = in_dtype(weights, dtype)
    adapter = in_dtype(start, dtype, trained=True)
    optimizer = torch.optim.AdamW(
        adapter.values(), lr=0.0, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0
    )
    losses, norms = [], []
    for step, rate in enumerate(rates):
        group = [batches[(2 * step + i) % len(batches)] for i in range(2)]
        labels = sum(int((batch.targets != NO_TARGET).sum()) for batch in group)
        loss = 0.0
        for batch in group:
            total, _ = loss_sum(forward(config, weights, adapter, batch), batch.targets)
            (total / labels).backward()
            loss += total.item() / labels
        losses.append(loss)
        norms.append(torch.nn.utils.clip_grad_norm_(adapter.values(), MAX_NORM).item())
        for settings in optimizer.param_groups:
            settings["lr"] = rate
        optimizer.step()
        optimizer.zero_grad()
    return losses, norms, {name: tensor.detach() for name, tensor in adapter.items()}


def write_trajectory(config):
    weights, _ = through_nf4(config, random_weights(config, seed=1))
    start = random_adapter(config, seed=30, zero_b=True)
    batches = [
        make_documents(lengths, seed, prompt_share)
        for seed, (lengths, prompt_share) in enumerate(MICRO_BATCHES, start=50)
    ]
    rates = [learning_rate(step) for step in range(STEPS)]
    runs = {}
    for name, dtype in (("f32", torch.float32), ("f64", torch.float64)):
        losses, norms, adapter = train(config, weights, start, batches, rates, dtype)
        runs[name] = {"losses": losses, "gradientNorms": norms}
        write_tensors(f"trajectory/end-{name}", adapter)
    write_adapter("trajectory/start", "tiny-llama", start)
    settings = {
        "model": "tiny-llama",
        "quantization": "nf4",
        "betas": [0.9, 0.999],
        "epsilon": 1e-8,
        "weightDecay": 0.0,
        "maxNorm": MAX_NORM,
        "passesPerStep": 2,
        "learningRates": rates,
    }
    micro_batches = [batch.as_json() for batch in batches]
    write_json("trajectory/trajectory.json", {**settings, "microBatches": micro_batches, **runs})


# --- Files ---

def write_model(name, config, weights):
    write_json(f"{name}/config.json", config, indent=2)
    write_tensors(f"{name}/model", weights)


def write_adapter(folder, base, adapter):
    """adapter_config.json holds PEFT 0.10's keys and no newer ones, which older readers refuse."""
    config = {
        "alpha_pattern": {},
        "auto_mapping": None,
        "base_model_name_or_path": base,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "layer_replication": None,
        "layers_pattern": None,
        "layers_to_transform": None,
        "loftq_config": {},
        "lora_alpha": ALPHA,
        "lora_dropout": 0.0,
        "megatron_config": None,
        "megatron_core": "megatron.core",
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": RANK,
        "rank_pattern": {},
        "revision": None,
        "target_modules": sorted(
            name.split(".")[1] for name in linear_shapes(CONFIGS["tiny-llama"])
        ),
        "task_type": "CAUSAL_LM",
        "use_dora": False,
        "use_rslora": False,
    }
    write_json(f"{folder}/adapter_config.json", config, indent=2)
    write_tensors(f"{folder}/adapter_model", adapter)


def write_tensors(name, tensors):
    path = OUT / f"{name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    singles = {key: tensor.to(torch.float32).contiguous() for key, tensor in tensors.items()}
    save_file(singles, path, metadata={"format": "pt"})
    path.chmod(0o644)  # save_file leaves it readable by its owner only


def write_json(name, value, indent=None):
    path = OUT / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=indent) + "\n")


if __name__ == "__main__":
    main()
