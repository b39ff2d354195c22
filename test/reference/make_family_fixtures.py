"""Writes test/fixtures/families: what transformers says one tiny model of each family computes.

Run it from the root of the repository, with any Python that has torch and transformers:

    python -m venv venv
    venv/bin/pip install torch==2.13.0 transformers==5.23.0
    venv/bin/python test/reference/make_family_fixtures.py

For every family: logits, loss, and the gradients of a LoRA on all linear maps of the blocks. The weights
are not stored: test/model/family-models.ts makes the same numbers from the tensors' names.
Computed in f64 (transformers takes norms and angles in f32), with eager attention, each document alone.
InternLM2 is not part of transformers: its weights are taken apart into a Llama's here, as its authors'
convert2llama.py does, so that the gradient flows through the split to the fused matrix.
"""

import base64
import json
from pathlib import Path

import numpy as np
import torch
from torch.func import functional_call
from transformers import AutoConfig, AutoModelForCausalLM

OUT = Path(__file__).resolve().parent.parent / "fixtures" / "families"
RANK, ALPHA = 4, 8
NO_TARGET = 0xFFFFFFFF

SMALL = {
    "vocab_size": 101,  # ragged on purpose
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
}
WIDE = {key: value for key, value in (SMALL | {"hidden_size": 128}).items() if key != "head_dim"}
LONGROPE = {
    "type": "longrope",
    "short_factor": [1 + 0.05 * i for i in range(12)],
    "long_factor": [1 + 0.5 * i for i in range(12)],
}

# name: (config.json, lengths of the documents)
FAMILIES = {
    "llama-biased": (
        SMALL | {"model_type": "llama", "attention_bias": True, "mlp_bias": True},
        (14, 10),
    ),
    "mistral": (SMALL | {"model_type": "mistral", "sliding_window": 5}, (14, 10)),
    "internlm2": (
        WIDE
        | {"model_type": "internlm2", "bias": False, "rope_scaling": {"type": "dynamic", "factor": 2.0}},
        (14, 10),
    ),
    "qwen2": (
        WIDE
        | {
            "model_type": "qwen2",
            "tie_word_embeddings": True,
            "use_sliding_window": True,
            "sliding_window": 6,
            "max_window_layers": 1,
        },
        (14, 10),
    ),
    "qwen3": (SMALL | {"model_type": "qwen3"}, (14, 10)),
    "gemma3": (
        {key: value for key, value in SMALL.items() if key != "rope_theta"}
        | {
            "model_type": "gemma3_text",
            "num_hidden_layers": 3,
            "sliding_window": 5,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "query_pre_attn_scalar": 24,
            "rope_theta": 1000000.0,
            "rope_local_base_freq": 10000.0,
            "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        },
        (14, 10),
    ),
    "phi3-short": (
        WIDE
        | {
            "model_type": "phi3",
            "partial_rotary_factor": 0.75,
            "original_max_position_embeddings": 32,
            "rope_scaling": LONGROPE,
            "pad_token_id": 0,
            "sliding_window": 9,
        },
        (14, 10),
    ),
    "phi3-long": (
        WIDE
        | {
            "model_type": "phi3",
            "partial_rotary_factor": 0.75,
            "original_max_position_embeddings": 16,
            "rope_scaling": LONGROPE,
            "pad_token_id": 0,
        },
        (24,),
    ),
}


def uniform(name: str, count: int) -> np.ndarray:
    """Numbers in [-1/2, 1/2) with 24 bits, from a name and an index: a hash, the same in any language."""
    seed = 0x811C9DC5
    for byte in name.encode():
        seed = (seed ^ byte) * 0x01000193 & 0xFFFFFFFF
    x = (np.arange(count, dtype=np.uint64) * 0x9E3779B1 + seed) & 0xFFFFFFFF
    for _ in range(2):
        x = ((x ^ (x >> 16)) * 0x45D9F3B) & 0xFFFFFFFF
    x ^= x >> 16
    return (x >> 8).astype(np.float64) / 2**24 - 0.5


def made(name: str, shape: list[int], scale: float, offset: float = 0.0) -> torch.Tensor:
    values = uniform(name, int(np.prod(shape))) * scale + offset
    return torch.from_numpy(values.astype(np.float32).astype(np.float64).reshape(shape))


def scale_and_offset(name: str, is_gemma: bool, is_tied: bool) -> tuple[float, float]:
    if name.endswith("norm.weight") and not is_gemma:
        return 0.5, 1.0
    if name.endswith("norm.weight") or name.endswith(".bias"):
        return 0.5, 0.0
    if "embed" in name:
        return (0.5 if is_tied else 2.0), 0.0
    return (0.5 if name in ("lm_head.weight", "output.weight") else 0.25), 0.0


def internlm2_shapes(config: dict) -> dict[str, list[int]]:
    hidden, inter, vocab = (config[k] for k in ("hidden_size", "intermediate_size", "vocab_size"))
    head = hidden // config["num_attention_heads"]
    rows = (config["num_attention_heads"] + 2 * config["num_key_value_heads"]) * head
    shapes = {"model.tok_embeddings.weight": [vocab, hidden]}
    for layer in range(config["num_hidden_layers"]):
        p = f"model.layers.{layer}."
        shapes |= {
            p + "attention_norm.weight": [hidden],
            p + "attention.wqkv.weight": [rows, hidden],
            p + "attention.wo.weight": [hidden, hidden],
            p + "ffn_norm.weight": [hidden],
            p + "feed_forward.w1.weight": [inter, hidden],
            p + "feed_forward.w3.weight": [inter, hidden],
            p + "feed_forward.w2.weight": [hidden, inter],
        }
    return shapes | {"model.norm.weight": [hidden], "output.weight": [vocab, hidden]}


def as_llama(weights: dict[str, torch.Tensor], config: dict) -> dict[str, torch.Tensor]:
    """InternLM2's weights under a Llama's names; wqkv is rows of (key head, its queries + 2, head size)."""
    names = {
        "model.tok_embeddings.": "model.embed_tokens.",
        "output.": "lm_head.",
        ".attention_norm.": ".input_layernorm.",
        ".ffn_norm.": ".post_attention_layernorm.",
        ".attention.wo.": ".self_attn.o_proj.",
        ".feed_forward.w1.": ".mlp.gate_proj.",
        ".feed_forward.w3.": ".mlp.up_proj.",
        ".feed_forward.w2.": ".mlp.down_proj.",
    }
    heads, groups = config["num_attention_heads"], config["num_key_value_heads"]
    head = config["hidden_size"] // heads
    llama = {}
    for name, value in weights.items():
        if ".attention.wqkv." in name:
            parts = value.view(groups, heads // groups + 2, head, -1)
            for part, rows in (("q", parts[:, :-2]), ("k", parts[:, -2]), ("v", parts[:, -1])):
                new = name.replace(".attention.wqkv.", f".self_attn.{part}_proj.")
                llama[new] = rows.reshape(-1, value.shape[1])
            continue
        for old, new in names.items():
            name = name.replace(old, new) if name.startswith(old) or old.startswith(".") else name
        llama[name] = value
    return llama


def encode(values: torch.Tensor) -> str:
    return base64.b64encode(values.detach().to(torch.float32).contiguous().numpy().tobytes()).decode()


def main() -> None:
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    for family, (config, lengths) in FAMILIES.items():
        is_internlm2 = config["model_type"] == "internlm2"
        of_llama = {k: v for k, v in config.items() if k not in ("model_type", "bias", "rope_scaling")}
        used = {"model_type": "llama"} | of_llama if is_internlm2 else dict(config)
        hf = AutoConfig.for_model(**used)
        hf._attn_implementation = "eager"
        model = AutoModelForCausalLM.from_config(hf).to(torch.float64).eval()
        shapes = (
            internlm2_shapes(config)
            if is_internlm2
            else {n: list(t.shape) for n, t in model.state_dict().items()}
        )
        if hf.tie_word_embeddings:
            shapes.pop("lm_head.weight", None)
        tensors = [
            (name, shape, *scale_and_offset(name, "gemma" in config["model_type"], hf.tie_word_embeddings))
            for name, shape in sorted(shapes.items())
        ]
        weights = {name: made(name, shape, s, o) for name, shape, s, o in tensors}
        adapter = {}
        for name, shape in shapes.items():
            if len(shape) == 2 and ".layers." in name:
                path = name.removesuffix(".weight")
                adapter[path + ".lora_A"] = made(path + ".lora_A", [RANK, shape[1]], 0.25)
                adapter[path + ".lora_B"] = made(path + ".lora_B", [shape[0], RANK], 0.25)
        for value in adapter.values():
            value.requires_grad_()
        adapted = dict(weights)
        for path in {name.rsplit(".", 1)[0] for name in adapter}:
            delta = adapter[path + ".lora_B"] @ adapter[path + ".lora_A"]
            adapted[path + ".weight"] = weights[path + ".weight"] + ALPHA / RANK * delta
        if is_internlm2:
            adapted = as_llama(adapted, config)
        if hf.tie_word_embeddings:
            adapted["lm_head.weight"] = adapted["model.embed_tokens.weight"]

        tokens = sum(lengths)
        ids = [(7 * i * i + 3 * i + 11) % config["vocab_size"] for i in range(tokens)]
        targets, logits, start = [], [], 0
        for length in lengths:
            own = torch.tensor([ids[start : start + length]])
            logits.append(functional_call(model, adapted, (own,), {"use_cache": False}).logits[0])
            following = own[0, 1:].tolist() + [NO_TARGET]
            targets += [NO_TARGET if i < 3 else t for i, t in enumerate(following)]
            start += length
        logits = torch.cat(logits)
        rows = [i for i, target in enumerate(targets) if target != NO_TARGET]
        wanted = torch.tensor([targets[i] for i in rows])
        loss = torch.nn.functional.cross_entropy(logits[rows], wanted)
        loss.backward()
        print(family, "loss", loss.item(), "largest logit", logits.abs().max().item())
        fixture = {
            "config": config,
            "rank": RANK,
            "alpha": ALPHA,
            "tensors": [dict(zip(("name", "shape", "scale", "offset"), t)) for t in tensors],
            "documents": lengths,
            "ids": ids,
            "targets": targets,
            "loss": loss.item(),
            "logits": encode(logits),
            "gradients": {name: encode(value.grad) for name, value in sorted(adapter.items())},
        }
        (OUT / f"{family}.json").write_text(json.dumps(fixture, indent=1) + "\n")


main()
