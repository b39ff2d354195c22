"""InternLM2 in PyTorch, for the judge's side: transformers has no such model, and its own code is fetched from a hub.

Written from the layout of the published weights, with its module names, so that PEFT finds the same layers:
`wqkv` holds, for every group of one key head, its query heads, then the key, then the value. Importing this
registers the model with transformers' Auto classes.
"""

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput


class InternLM2Config(PretrainedConfig):
    model_type = "internlm2"

    def __init__(
        self,
        vocab_size=2304,
        hidden_size=128,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        rms_norm_eps=1e-5,
        rope_theta=1e6,
        rope_scaling=None,
        bias=False,
        tie_word_embeddings=False,
        **others,
    ):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_key_value_heads = num_key_value_heads
        self.max_position_embeddings = max_position_embeddings
        self.rms_norm_eps = rms_norm_eps
        self.rope_theta = rope_theta
        self.bias = bias
        super().__init__(tie_word_embeddings=tie_word_embeddings, **others)
        # Under a name of its own: transformers 5 rewrites `rope_scaling`.
        if rope_scaling:
            assert rope_scaling.get("type", rope_scaling.get("rope_type")) == "dynamic"
            self.dynamic_factor = rope_scaling["factor"]


class Norm(nn.Module):
    def __init__(self, size, epsilon):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.epsilon = epsilon

    def forward(self, x):
        wide = x.float()
        return self.weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.epsilon)).to(x.dtype)


def frequencies(config, size, tokens):
    """Radians per position; under dynamic NTK the base grows once there are more tokens than trained for."""
    base = config.rope_theta
    factor = getattr(config, "dynamic_factor", None)
    if factor and tokens > config.max_position_embeddings:
        stretch = factor * tokens / config.max_position_embeddings - (factor - 1)
        base = base * stretch ** (size / (size - 2))
    return base ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)


def turn(x, angles):
    """Rotates dimension i with dimension i + size / 2. x is [batch, heads, tokens, size]."""
    first, second = x.chunk(2, dim=-1)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.size = config.hidden_size // config.num_attention_heads
        self.groups = config.num_key_value_heads
        self.per_group = config.num_attention_heads // self.groups
        self.wqkv = nn.Linear(
            config.hidden_size, self.groups * (self.per_group + 2) * self.size, bias=config.bias
        )
        self.wo = nn.Linear(config.num_attention_heads * self.size, config.hidden_size, bias=config.bias)

    def forward(self, x):
        batch, tokens, _ = x.shape
        fused = self.wqkv(x).view(batch, tokens, self.groups, self.per_group + 2, self.size)
        queries = fused[..., : self.per_group, :].reshape(batch, tokens, -1, self.size).transpose(1, 2)
        keys = fused[..., -2, :].transpose(1, 2)
        values = fused[..., -1, :].transpose(1, 2)
        positions = torch.arange(tokens, dtype=torch.float64)
        angles = positions[:, None] * frequencies(self.config, self.size, tokens)[None]
        queries, keys = turn(queries, angles), turn(keys, angles)
        keys = keys.repeat_interleave(self.per_group, dim=1)
        values = values.repeat_interleave(self.per_group, dim=1)
        scores = queries @ keys.transpose(-1, -2) / self.size**0.5
        hidden = torch.ones(tokens, tokens, dtype=torch.bool).triu(1)
        weights = scores.masked_fill(hidden, float("-inf")).float().softmax(-1).to(x.dtype)
        return self.wo((weights @ values).transpose(1, 2).reshape(batch, tokens, -1))


class FeedForward(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.w1 = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.w3 = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.w2 = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x):
        return self.w2(nn.functional.silu(self.w1(x)) * self.w3(x))


class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attention = Attention(config)
        self.feed_forward = FeedForward(config)
        self.attention_norm = Norm(config.hidden_size, config.rms_norm_eps)
        self.ffn_norm = Norm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x):
        x = x + self.attention(self.attention_norm(x))
        return x + self.feed_forward(self.ffn_norm(x))


class Stack(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.tok_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList([Layer(config) for _ in range(config.num_hidden_layers)])
        self.norm = Norm(config.hidden_size, config.rms_norm_eps)

    def forward(self, ids):
        x = self.tok_embeddings(ids)
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


class InternLM2ForCausalLM(PreTrainedModel, GenerationMixin):
    config_class = InternLM2Config
    base_model_prefix = "model"

    def __init__(self, config):
        super().__init__(config)
        self.model = Stack(config)
        self.output = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.model.tok_embeddings

    def get_output_embeddings(self):
        return self.output

    def forward(self, input_ids=None, labels=None, **_):
        logits = self.output(self.model(input_ids)).float()
        loss = None
        if labels is not None:
            loss = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        return CausalLMOutput(loss=loss, logits=logits)


AutoConfig.register("internlm2", InternLM2Config)
AutoModelForCausalLM.register(InternLM2Config, InternLM2ForCausalLM)
