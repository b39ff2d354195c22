# A Llama written plainly: the model Seedling is trained as, its files, and its NF4 likeness.
#
# Module names are Hugging Face's, so state_dict() is the checkpoint. Several documents share a row:
# `start[i]` is the index of the first token of token i's document and `positions[i]` counts from
# it; a token attends to j in [start[i], i]. No dropout, and no cache: a conversation is short.
from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tokenizer import write_json

# Quantiles of a normal distribution, as in the QLoRA paper (Dettmers et al., 2023, appendix E).
NF4 = torch.tensor(
    [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
     -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
     0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
     0.7229568362236023, 1.0]
)  # fmt: skip
NF4_BLOCK = 64  # weights that share one scale


@dataclass(frozen=True)
class Sizes:
    vocabulary: int = 2304
    hidden: int = 128
    intermediate: int = 384
    layers: int = 4
    heads: int = 4
    key_value_heads: int = 2
    head_dim: int = 32
    positions: int = 1024
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5


def nf4_round_trip(weight: Tensor) -> Tensor:
    """`weight` as it comes back from NF4: blocks of 64 of the flattened weight, one scale each."""
    blocks = weight.reshape(-1, NF4_BLOCK)
    scale = blocks.abs().amax(1, keepdim=True)
    between = (NF4[1:] + NF4[:-1]) / 2
    return (NF4[torch.bucketize(blocks / scale, between)] * scale).reshape(weight.shape)


class Linear(nn.Linear):
    """y = x · Wᵀ. Can act as if W were stored in NF4, and can carry a LoRA adapter."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs, bias=False)
        self.quantize = False  # straight-through: the gradient goes to the exact weight
        self.lora: nn.ParameterList | None = None
        self.lora_scale = 0.0

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight
        if self.quantize:
            weight = weight + (nf4_round_trip(weight.detach()) - weight.detach())
        y = F.linear(x, weight)
        if self.lora is not None:
            a, b = self.lora
            y = y + self.lora_scale * F.linear(F.linear(x, a), b)
        return y


class Norm(nn.Module):
    def __init__(self, size: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions in Hugging Face's layout: the two halves of a head are the pairs."""
    first, second = x.chunk(2, -1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)


class Attention(nn.Module):
    def __init__(self, s: Sizes):
        super().__init__()
        self.s = s
        self.q_proj = Linear(s.hidden, s.heads * s.head_dim)
        self.k_proj = Linear(s.hidden, s.key_value_heads * s.head_dim)
        self.v_proj = Linear(s.hidden, s.key_value_heads * s.head_dim)
        self.o_proj = Linear(s.heads * s.head_dim, s.hidden)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        rows, length, _ = x.shape
        # [rows, length, heads × head_dim] to [rows, heads, length, head_dim]
        q, k, v = (
            projection(x).view(rows, length, -1, self.s.head_dim).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        group = self.s.heads // self.s.key_value_heads
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.o_proj(y.transpose(1, 2).reshape(rows, length, -1))


class Mlp(nn.Module):
    def __init__(self, s: Sizes):
        super().__init__()
        self.gate_proj = Linear(s.hidden, s.intermediate)
        self.up_proj = Linear(s.hidden, s.intermediate)
        self.down_proj = Linear(s.intermediate, s.hidden)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    def __init__(self, s: Sizes):
        super().__init__()
        self.input_layernorm = Norm(s.hidden, s.norm_eps)
        self.self_attn = Attention(s)
        self.post_attention_layernorm = Norm(s.hidden, s.norm_eps)
        self.mlp = Mlp(s)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):
    def __init__(self, s: Sizes):
        super().__init__()
        self.s = s
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(s.vocabulary, s.hidden)
        self.model.layers = nn.ModuleList(Block(s) for _ in range(s.layers))
        self.model.norm = Norm(s.hidden, s.norm_eps)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                # Layers that write to the residual stream start smaller, as there are 2 per block.
                depth = (
                    (2 * s.layers) ** -0.5
                    if name.endswith(("o_proj.weight", "down_proj.weight"))
                    else 1
                )
                nn.init.normal_(parameter, std=0.04 * depth)

    def linears(self) -> list[Linear]:
        return [module for module in self.modules() if isinstance(module, Linear)]

    def forward(
        self, ids: Tensor, positions: Tensor, start: Tensor, wanted: Tensor | None = None
    ) -> Tensor:
        """Logits [tokens, vocabulary] of `ids` [rows, length], or only of the wanted ones."""
        s = self.s
        frequency = s.rope_theta ** (-torch.arange(0, s.head_dim, 2) / s.head_dim)
        angle = (positions[..., None] * frequency)[:, None]  # [rows, 1, length, head_dim / 2]
        index = torch.arange(ids.shape[1])
        mask = ((index[None, :] <= index[:, None]) & (index >= start[..., None]))[:, None]
        x = self.model.embed_tokens(ids)
        for block in self.model.layers:
            x = block(x, angle.cos(), angle.sin(), mask)
        x = x.flatten(0, 1) if wanted is None else x[wanted]
        return F.linear(self.model.norm(x), self.model.embed_tokens.weight)


@torch.no_grad()
def generate(
    model: Llama, prompts: list[list[int]], stop: set[int], limit: int = 48
) -> list[tuple[list[int], float]]:
    """Greedy answers, and the probability of each answer's least certain token."""
    answers: list[list[int]] = [[] for _ in prompts]
    least = [1.0] * len(prompts)
    going = list(range(len(prompts)))
    while going:
        texts = [prompts[i] + answers[i] for i in going]
        ids, positions, start = pad(texts)
        wanted = torch.zeros_like(ids, dtype=torch.bool)
        for row, text in enumerate(texts):
            wanted[row, len(text) - 1] = True
        best = model(ids, positions, start, wanted).softmax(-1).max(-1)
        for row, i in enumerate(going):
            token = int(best.indices[row])
            least[i] = min(least[i], float(best.values[row]))
            answers[i].append(token)
        going = [i for i in going if answers[i][-1] not in stop and len(answers[i]) < limit]
    return list(zip(answers, least, strict=True))


def pad(texts: list[list[int]]) -> tuple[Tensor, Tensor, Tensor]:
    """Texts of several lengths as rows; what follows a text cannot be seen from it."""
    length = max(map(len, texts))
    ids = torch.tensor([text + [2] * (length - len(text)) for text in texts])
    return ids, torch.arange(length).expand_as(ids), torch.zeros_like(ids)


def save(model: Llama, folder: Path) -> None:
    """Writes config.json, generation_config.json and, in f16, model.safetensors."""
    s = model.s
    folder.mkdir(parents=True, exist_ok=True)
    write_json(
        folder / "config.json",
        {
            "architectures": ["LlamaForCausalLM"],
            "attention_bias": False,
            "attention_dropout": 0.0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "head_dim": s.head_dim,
            "hidden_act": "silu",
            "hidden_size": s.hidden,
            "initializer_range": 0.04,
            "intermediate_size": s.intermediate,
            "max_position_embeddings": s.positions,
            "mlp_bias": False,
            "model_type": "llama",
            "num_attention_heads": s.heads,
            "num_hidden_layers": s.layers,
            "num_key_value_heads": s.key_value_heads,
            "pad_token_id": 2,
            "rms_norm_eps": s.norm_eps,
            "rope_scaling": None,
            "rope_theta": s.rope_theta,
            "tie_word_embeddings": True,
            "torch_dtype": "float16",
            "use_cache": True,
            "vocab_size": s.vocabulary,
        },
    )
    write_json(
        folder / "generation_config.json",
        {
            "bos_token_id": 1,
            "do_sample": False,
            "eos_token_id": [2, 4],
            "max_new_tokens": 128,
            "pad_token_id": 2,
        },
    )
    tensors = {
        name: value.half().contiguous() for name, value in sorted(model.state_dict().items())
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)


def load(folder: Path) -> Llama:
    """The saved model, its f16 weights widened to f32."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    model = Llama(
        Sizes(
            vocabulary=config["vocab_size"],
            hidden=config["hidden_size"],
            intermediate=config["intermediate_size"],
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            key_value_heads=config["num_key_value_heads"],
            head_dim=config["head_dim"],
        )
    )
    model.load_state_dict(
        {k: v.float() for k, v in load_file(folder / "model.safetensors").items()}
    )
    return model
