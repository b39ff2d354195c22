"""Writes a random tiny model of every family, as save_pretrained does, each a folder of OUTPUT.

    python models.py OUTPUT TOKENIZER_FOLDER

The weights are drawn so that every part of a block matters: logits of a few units, norms that are not one, biases
that are not zero. Other scripts import `load` from here.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
import transformers
from internlm2 import InternLM2Config, InternLM2ForCausalLM
from transformers import AutoModelForCausalLM

VOCAB = 2304  # as many as the tokenizer has
SPECIAL = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}


def load(path, **options):
    """A base in f32 with the plainest attention."""
    model = AutoModelForCausalLM.from_pretrained(
        path, dtype=torch.float32, attn_implementation="eager", trust_remote_code=False, **options
    )
    return model.eval()


def shape(**others):
    return {
        "vocab_size": VOCAB,
        "hidden_size": 128,
        "intermediate_size": 192,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "tie_word_embeddings": False,
        **SPECIAL,
        **others,
    }


def rising(count, first, last):
    """Factors as longrope has them: one for each pair of a head's turning dimensions."""
    return [first + (last - first) * i / (count - 1) for i in range(count)]


def families():
    """Name to (config, dtype of the file)."""
    t = transformers
    return {
        # As Llama 2: every head has keys of its own.
        "llama2": (t.LlamaConfig(**shape(num_key_value_heads=4, rms_norm_eps=1e-5)), torch.float16),
        # As Llama 3.1: positions past 32 fall into each of the three ranges of wavelengths.
        "llama3": (
            t.LlamaConfig(
                **shape(rms_norm_eps=1e-5, head_dim=64, hidden_size=256),
                rope_parameters={
                    "rope_type": "llama3",
                    "rope_theta": 500000.0,
                    "factor": 8.0,
                    "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 64,
                },
            ),
            torch.bfloat16,
        ),
        # As SmolLM2: three query heads to a key head, embeddings tied.
        "smollm2": (
            t.LlamaConfig(
                **shape(
                    hidden_size=192,
                    intermediate_size=512,
                    num_attention_heads=3,
                    num_key_value_heads=1,
                    tie_word_embeddings=True,
                    rms_norm_eps=1e-5,
                ),
                rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
            ),
            torch.bfloat16,
        ),
        # As Mistral v0.1 and Nemo: a window, and heads that are not hidden / heads wide.
        "mistral": (
            t.MistralConfig(**shape(head_dim=48, sliding_window=16, rms_norm_eps=1e-5)),
            torch.bfloat16,
        ),
        # As Qwen2.5-0.5B: biases on queries, keys and values; tied.
        "qwen2": (
            t.Qwen2Config(
                **shape(tie_word_embeddings=True, use_sliding_window=False, rms_norm_eps=1e-6),
                rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
            ),
            torch.bfloat16,
        ),
        "qwen3": (
            t.Qwen3Config(
                **shape(head_dim=64, tie_word_embeddings=True, rms_norm_eps=1e-6),
                rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
            ),
            torch.float32,
        ),
        # As Gemma 3 270M and 1B: the sixth layer alone sees everything.
        "gemma3": (
            t.Gemma3TextConfig(
                **shape(
                    num_hidden_layers=7,
                    num_key_value_heads=1,
                    head_dim=64,
                    tie_word_embeddings=True,
                    sliding_window=16,
                    query_pre_attn_scalar=48,
                    rms_norm_eps=1e-6,
                ),
            ),
            torch.bfloat16,
        ),
        # As Phi-3-mini: fused projections, all of a head turns.
        "phi3": (
            t.Phi3Config(**shape(num_key_value_heads=4, sliding_window=20, rms_norm_eps=1e-5)),
            torch.bfloat16,
        ),
        # As Phi-4-mini: three quarters of a head turn, by factors made for long texts.
        "phi4-mini": (
            t.Phi3Config(
                **shape(
                    max_position_embeddings=4096,
                    original_max_position_embeddings=256,
                    tie_word_embeddings=True,
                    rms_norm_eps=1e-5,
                ),
                rope_parameters={
                    "rope_type": "longrope",
                    "rope_theta": 10000.0,
                    "partial_rotary_factor": 0.75,
                    "short_factor": rising(12, 1.0, 2.0),
                    "long_factor": rising(12, 1.0, 20.0),
                    "original_max_position_embeddings": 256,
                },
            ),
            torch.bfloat16,
        ),
        # Not families of their own: other ways to stretch a context, on Llama's block.
        "linear": (
            t.LlamaConfig(
                **shape(),
                rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0},
            ),
            torch.bfloat16,
        ),
        "yarn": (
            t.LlamaConfig(
                **shape(),
                rope_parameters={
                    "rope_type": "yarn",
                    "rope_theta": 10000.0,
                    "factor": 4.0,
                    "original_max_position_embeddings": 128,
                },
            ),
            torch.bfloat16,
        ),
        "internlm2": (
            InternLM2Config(
                **shape(num_attention_heads=8, hidden_size=256, rms_norm_eps=1e-5),
                rope_theta=1000000.0,
                rope_scaling={"type": "dynamic", "factor": 2.0},
            ),
            torch.float16,
        ),
    }


def randomize(model, seed):
    generator = torch.Generator().manual_seed(seed)
    tied = model.config.tie_word_embeddings
    # Gemma's norms multiply by one more than their weight.
    norm_mean = 0.0 if model.config.model_type == "gemma3_text" else 1.0
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        with torch.no_grad():
            if parameter.dim() == 1:
                is_bias = name.endswith("bias")
                parameter.copy_(0.3 * noise + (0.0 if is_bias else norm_mean))
            elif "embed" in name:
                parameter.copy_(noise * (2.5 / parameter.shape[1] ** 0.5 if tied else 1.0))
            elif name.startswith(("lm_head", "output")):
                parameter.copy_(noise * 2.5 / parameter.shape[1] ** 0.5)
            else:
                parameter.copy_(noise / parameter.shape[1] ** 0.5)


def in_the_old_spelling(config):
    """config.json as transformers 4 writes it, and as most models on the hub have it."""
    config = {**config, "torch_dtype": config["dtype"], "transformers_version": "4.57.6"}
    del config["dtype"]
    if "dynamic_factor" in config:
        config["rope_scaling"] = {"type": "dynamic", "factor": config.pop("dynamic_factor")}
    rope = config.pop("rope_parameters", {})
    if "full_attention" in rope:
        config["rope_theta"] = rope["full_attention"]["rope_theta"]
        config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        config["rope_scaling"] = None
        config["sliding_window_pattern"] = config.pop("_sliding_window_pattern")
        return config
    scaling = dict(rope)
    if "rope_theta" in scaling:
        config["rope_theta"] = scaling.pop("rope_theta")
    if "partial_rotary_factor" in scaling:
        config["partial_rotary_factor"] = scaling.pop("partial_rotary_factor")
    if scaling.get("rope_type") == "longrope":
        del scaling["original_max_position_embeddings"], scaling["rope_type"]
        scaling["type"] = "longrope"
    if scaling and scaling.get("rope_type") != "default":
        config["rope_scaling"] = scaling
    return config


def main(output, tokenizer):
    for seed, (name, (config, dtype)) in enumerate(families().items()):
        if name == "internlm2":
            model = InternLM2ForCausalLM(config)
        else:
            model = AutoModelForCausalLM.from_config(config)
        randomize(model, seed + 1)
        folder = Path(output) / name
        model.to(dtype).save_pretrained(folder)
        for file in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]:
            shutil.copy(Path(tokenizer) / file, folder / file)
        # The same weights under either spelling.
        if name != "internlm2":
            shutil.copytree(folder, f"{folder}.v5")
        written = json.loads((folder / "config.json").read_text())
        old = json.dumps(in_the_old_spelling(written), indent=2, sort_keys=True)
        (folder / "config.json").write_text(old + "\n")
    print(json.dumps(list(families())))


if __name__ == "__main__":
    main(*sys.argv[1:])
