"""A Llama with LoRA on every linear layer of its blocks, in plain PyTorch.

The base is frozen: only the adapter gets gradients. Weights and adapter are dicts of tensors under
Hugging Face's and PEFT's names; the dtype they come in is the dtype of the computation.
Documents lie one after another on one token axis.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

NO_TARGET = 0xFFFFFFFF  # a position that predicts nothing
RANK, ALPHA = 8, 16


@dataclass
class Batch:
    """Rows concatenated on one token axis. All fields are int64 of shape [tokens]."""

    ids: torch.Tensor
    labels: torch.Tensor  # not shifted, -100 where there is none
    targets: torch.Tensor  # shifted: the id that this position must predict, or NO_TARGET
    positions: torch.Tensor  # the angle of rotary embedding
    segment_start: torch.Tensor  # the first token of this token's document

    def as_json(self):
        return {
            "ids": self.ids.tolist(),
            "labels": self.labels.tolist(),
            "targets": self.targets.tolist(),
            "positions": self.positions.tolist(),
            "segmentStart": self.segment_start.tolist(),
        }


def head_size(config):
    return config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])


def linear_shapes(config):
    """The seven linear layers of a block: name to [outputs, inputs]."""
    hidden, intermediate = config["hidden_size"], config["intermediate_size"]
    queries = config["num_attention_heads"] * head_size(config)
    keys = config["num_key_value_heads"] * head_size(config)
    return {
        "self_attn.q_proj": (queries, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, queries),
        "mlp.gate_proj": (intermediate, hidden),
        "mlp.up_proj": (intermediate, hidden),
        "mlp.down_proj": (hidden, intermediate),
    }


def linear_names(config):
    return {
        f"model.layers.{layer}.{name}": shape
        for layer in range(config["num_hidden_layers"])
        for name, shape in linear_shapes(config).items()
    }


def random_weights(config, seed):
    """f32 weights under Hugging Face names. Norm weights are near one, and none is one."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape, scale):
        return torch.randn(*shape, generator=generator) * scale

    vocabulary, hidden = config["vocab_size"], config["hidden_size"]
    weights = {"model.embed_tokens.weight": normal(vocabulary, hidden, scale=0.2)}
    for name, shape in linear_names(config).items():
        weights[f"{name}.weight"] = normal(*shape, scale=shape[1] ** -0.5)
    for layer in range(config["num_hidden_layers"]):
        for norm in ("input_layernorm", "post_attention_layernorm"):
            weights[f"model.layers.{layer}.{norm}.weight"] = 1 + normal(hidden, scale=0.1)
    weights["model.norm.weight"] = 1 + normal(hidden, scale=0.1)
    if not config["tie_word_embeddings"]:
        weights["lm_head.weight"] = normal(vocabulary, hidden, scale=0.2)
    return weights


def random_adapter(config, seed, zero_b=False):
    """LoRA on every linear layer, under PEFT's names: A [rank, inputs], B [outputs, rank]."""
    generator = torch.Generator().manual_seed(seed)
    adapter = {}
    for name, (outputs, inputs) in linear_names(config).items():
        a = (torch.rand(RANK, inputs, generator=generator) * 2 - 1) * inputs**-0.5
        b = torch.randn(outputs, RANK, generator=generator) * 0.1
        adapter[f"base_model.model.{name}.lora_A.weight"] = a
        adapter[f"base_model.model.{name}.lora_B.weight"] = torch.zeros_like(b) if zero_b else b
    return adapter


def inverse_frequencies(size, theta, scaling=None):
    """f64 [size / 2], with Llama 3.1's scaling: long wavelengths are stretched by `factor`."""
    frequencies = theta ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    if scaling is None:
        return frequencies
    wavelengths = 2 * math.pi / frequencies
    turns = scaling["original_max_position_embeddings"] / wavelengths
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    kept = ((turns - low) / (high - low)).clamp(0, 1)  # 1 where turns > high, 0 where < low
    return frequencies * (kept + (1 - kept) / scaling["factor"])


def rotate(x, positions, frequencies):
    """Rotary embedding of x [tokens, heads, size]; dimension i turns with i + size / 2."""
    angles = positions[:, None].double() * frequencies
    cos, sin = angles.cos().to(x.dtype)[:, None], angles.sin().to(x.dtype)[:, None]
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def rms_norm(x, weight, epsilon):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + epsilon) * weight


def attention(q, k, v, segment_start):
    """Causal within a document. q [tokens, heads, size]; k, v [tokens, kv heads, size].

    Returns the outputs, like q, and the log of each softmax's sum, [tokens, heads].
    """
    tokens, heads, size = q.shape
    k = k.repeat_interleave(heads // k.shape[1], dim=1)
    v = v.repeat_interleave(heads // v.shape[1], dim=1)
    at = torch.arange(tokens)
    visible = (at[None] <= at[:, None]) & (at[None] >= segment_start[:, None])
    scores = torch.einsum("ihd,jhd->hij", q, k) / math.sqrt(size)
    scores = scores.masked_fill(~visible, -math.inf)
    outputs = torch.einsum("hij,jhd->ihd", scores.softmax(-1), v)
    return outputs, scores.logsumexp(-1).T


def forward(config, weights, adapter, batch):
    """Logits [tokens, vocabulary] of the frozen base with the adapter on it."""

    def linear(x, name):
        a = adapter[f"base_model.model.{name}.lora_A.weight"]
        b = adapter[f"base_model.model.{name}.lora_B.weight"]
        return x @ weights[f"{name}.weight"].T + (x @ a.T) @ b.T * (ALPHA / RANK)

    def norm(x, name):
        return rms_norm(x, weights[f"{name}.weight"], config["rms_norm_eps"])

    size, tokens = head_size(config), len(batch.ids)
    frequencies = inverse_frequencies(size, config["rope_theta"], config["rope_scaling"])

    x = weights["model.embed_tokens.weight"][batch.ids]
    for layer in range(config["num_hidden_layers"]):
        block = f"model.layers.{layer}"

        h = norm(x, f"{block}.input_layernorm")
        q = linear(h, f"{block}.self_attn.q_proj").view(tokens, -1, size)
        k = linear(h, f"{block}.self_attn.k_proj").view(tokens, -1, size)
        v = linear(h, f"{block}.self_attn.v_proj").view(tokens, -1, size)
        q, k = (rotate(part, batch.positions, frequencies) for part in (q, k))
        mixed, _ = attention(q, k, v, batch.segment_start)
        x = x + linear(mixed.reshape(tokens, -1), f"{block}.self_attn.o_proj")

        h = norm(x, f"{block}.post_attention_layernorm")
        gated = F.silu(linear(h, f"{block}.mlp.gate_proj")) * linear(h, f"{block}.mlp.up_proj")
        x = x + linear(gated, f"{block}.mlp.down_proj")

    tied = config["tie_word_embeddings"]
    head = weights["model.embed_tokens.weight" if tied else "lm_head.weight"]
    return norm(x, "model.norm") @ head.T


def loss_sum(logits, targets):
    """The sum of the token losses, and over how many tokens."""
    labeled = targets != NO_TARGET
    total = F.cross_entropy(logits[labeled], targets[labeled], reduction="sum")
    return total, int(labeled.sum())


def evaluate(config, weights, adapter, batch):
    """Logits, mean loss over the label tokens, and the gradient of every adapter tensor."""
    weights = in_dtype(weights, torch.float64)
    adapter = in_dtype(adapter, torch.float64, trained=True)
    logits = forward(config, weights, adapter, batch)
    total, count = loss_sum(logits, batch.targets)
    (total / count).backward()
    gradients = {name: tensor.grad for name, tensor in adapter.items()}
    return logits.detach(), (total / count).item(), gradients


def in_dtype(tensors, dtype, trained=False):
    return {n: t.detach().to(dtype, copy=True).requires_grad_(trained) for n, t in tensors.items()}
