"""Writes test/fixtures/bnb: 4-bit weights as transformers and bitsandbytes save them, and bitsandbytes'
8-bit map as today's torch makes it.

    python -m venv venv
    venv/bin/pip install torch==2.13.0 transformers==5.23.0 bitsandbytes==0.50.2 accelerate==1.15.0
    venv/bin/python test/reference/make_bnb_fixtures.py

bitsandbytes runs without its compiled library, uncompiled by torch (which would fuse products and sums),
and on one thread of an x86-64 processor.
"""

import ctypes
import json
import os
import shutil
from pathlib import Path

os.environ["TORCHDYNAMO_DISABLE"] = "1"

import numpy as np
import torch
from safetensors.torch import save_file

FIXTURES = Path(__file__).parent.parent / "fixtures"
OUT = FIXTURES / "bnb"


def without_compiled_library():
    """Imports bitsandbytes so that its own torch code runs: see src/kernels/double-quant.ts."""
    load = ctypes.cdll.LoadLibrary

    def refuse(name):
        raise OSError(f"{name} is not wanted here")

    ctypes.cdll.LoadLibrary = refuse
    import bitsandbytes.functional as functional

    ctypes.cdll.LoadLibrary = load
    return functional


def main():
    torch.set_num_threads(1)
    functional = without_compiled_library()
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    write_models()
    write_kinds(functional)
    write_means()
    write_dynamic_map(functional)
    for file in OUT.rglob("*.safetensors"):
        file.chmod(0o644)


def write_models():
    """plain: a Llama of one block. nested, unnested: the same after transformers quantized it."""
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=64,
        intermediate_size=320,  # 320 blocks of 64: a full block of 256 scales and a short one
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=40,
        max_position_embeddings=64,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    # Rows of very different size, so that the scales are worth quantizing.
    for name, weight in model.named_parameters():
        if name.endswith("_proj.weight"):
            weight.data *= torch.exp(torch.randn(weight.shape[0], 1)).to(torch.bfloat16)
    model.save_pretrained(OUT / "plain")
    for name, double_quant in {"nested": True, "unnested": False}.items():
        quantized = AutoModelForCausalLM.from_pretrained(
            OUT / "plain",
            dtype=torch.bfloat16,
            device_map="cpu",
            quantization_config=BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_use_double_quant=double_quant,
                bnb_4bit_compute_dtype=torch.bfloat16,
            ),
        )
        quantized.save_pretrained(OUT / name)
    for file in OUT.glob("*/generation_config.json"):
        file.unlink()


def write_kinds(functional):
    """kinds: single tensors in every way of storing them; dequantized: what bitsandbytes reads from them."""
    torch.manual_seed(1)
    kinds = {
        "nf4": {},
        "nf4_f16": {"dtype": torch.float16},
        "nf4_f32": {"dtype": torch.float32},
        "nf4_unnested": {"compress_statistics": False},
        "nf4_blocks_of_128": {"blocksize": 128},
        "nf4_in_bf16": {"quant_storage": torch.bfloat16},
        "nf4_in_f32": {"quant_storage": torch.float32},
        "nf4_short_block": {"shape": (5, 20)},
        "fp4": {"quant_type": "fp4"},
        "fp4_unnested": {"quant_type": "fp4", "compress_statistics": False, "dtype": torch.float32},
        "fp4_blocks_of_256": {"quant_type": "fp4", "blocksize": 256},
    }
    stored, dequantized = {}, {}
    for name, options in kinds.items():
        options = {"quant_type": "nf4", "compress_statistics": True, **options}
        shape = options.pop("shape", (24, 64))
        dtype = options.pop("dtype", torch.bfloat16)
        weight = torch.randn(shape).mul(torch.exp(torch.randn(shape[0], 1))).to(dtype)
        packed, state = functional.quantize_4bit(weight, **options)
        stored[f"{name}.weight"] = packed
        for key, value in state.as_dict(packed=True).items():
            stored[f"{name}.weight.{key}"] = value
        dequantized[f"{name}.weight"] = functional.dequantize_4bit(packed, state).contiguous()
    stored["skipped.weight"] = dequantized["skipped.weight"] = torch.randn(3, 8, dtype=torch.bfloat16)
    for name, tensors in {"kinds": stored, "dequantized": dequantized}.items():
        folder = OUT / name
        folder.mkdir()
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def write_means():
    """Means of scales made by a generator that is easily written anywhere: x = a x + c modulo 2^32."""
    means = []
    for count in [1, 5, 7, 8, 30, 32, 100, 513, 1728, 5184, 13824, 40_000, 1_000_003]:
        state, values = count, np.empty(count)
        for i in range(count):
            state = (state * 1664525 + 1013904223) % 2**32
            values[i] = abs(np.float32(state / 2**31 - 1))
        mean = torch.from_numpy(values.astype(np.float32)).mean().item()
        means.append({"count": count, "seed": count, "mean": mean})
    (OUT / "means.json").write_text(json.dumps(means, indent=1) + "\n")


def write_dynamic_map(functional):
    """The 8-bit map is made by torch's linspace: its last bits are those of torch 2 on x86-64 with FMA."""
    values = functional.create_dynamic_map().numpy()
    made_by = "torch 2.13 on AVX2: bitsandbytes 0.50.2 create_dynamic_map(signed=True)"
    text = {"made_by": made_by, "bnb_dynamic_map_signed_u32": values.view(np.uint32).tolist()}
    (OUT / "dynamic-map.json").write_text(json.dumps(text, indent=1) + "\n")


if __name__ == "__main__":
    main()
