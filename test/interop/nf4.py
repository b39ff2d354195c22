"""NF4 of real weights by bitsandbytes itself, against what Hone wrote.

    python nf4.py sources SMOLLM2 OUTPUT        weights in f16 and f32, each a safetensors folder of OUTPUT
    python nf4.py compare BACKEND JOBS.json     counts of what differs, for each job

A job is {source, written}: folders with plain weights and with what Hone made of them. BACKEND is "default", the torch
code by which bitsandbytes defines what it does, or "compiled", the library that it uses for some of it on CPUs.
"""

import ctypes
import json
import os
import sys
from pathlib import Path

# Compiled by torch, dequantization would fuse a product and a sum.
os.environ["TORCHDYNAMO_DISABLE"] = "1"

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

LAYERS_OF_10M = ("model.layers.0.", "model.layers.14.", "model.layers.29.")


def sources(smollm2, output):
    """Three layers of SmolLM2 in the other types; in f32 with digits that bf16 does not have."""
    torch.manual_seed(0)
    with safe_open(f"{smollm2}/model.safetensors", "pt") as file:
        names = [name for name in file.keys() if is_linear(name) and name.startswith(LAYERS_OF_10M)]
        weights = {name: file.get_tensor(name) for name in names}
    for name, convert in {
        "f16": lambda weight: weight.to(torch.float16),
        "f32": lambda weight: weight.float() * (1 + (torch.rand(weight.shape) - 0.5) * 2**-8),
        "bf16": lambda weight: weight,
    }.items():
        folder = Path(output) / name
        folder.mkdir()
        converted = {key: convert(weight).contiguous() for key, weight in weights.items()}
        save_file(converted, folder / "model.safetensors", metadata={"format": "pt"})


def is_linear(name):
    return "_proj.weight" in name


def import_bitsandbytes(backend):
    load = ctypes.cdll.LoadLibrary
    if backend == "default":

        def refuse(name):
            raise OSError(f"{name} is not wanted here")

        ctypes.cdll.LoadLibrary = refuse
    import bitsandbytes.functional as functional
    from bitsandbytes.cextension import ErrorHandlerMockBNBNativeLibrary, lib

    ctypes.cdll.LoadLibrary = load
    assert isinstance(lib, ErrorHandlerMockBNBNativeLibrary) == (backend == "default")
    return functional


def compare(backend, jobs):
    functional = import_bitsandbytes(backend)
    print(json.dumps([compare_folder(functional, **job) for job in json.load(open(jobs))]))


def compare_folder(functional, source, written):
    """How many of each kind of number there are, and how many differ from what bitsandbytes makes."""
    total, differ = {}, {}

    def count(key, ours, theirs):
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype, (key, ours, theirs)
        total[key] = total.get(key, 0) + ours.numel()
        differ[key] = differ.get(key, 0) + int((bits(ours) != bits(theirs)).sum())

    with (
        safe_open(f"{source}/model.safetensors", "pt") as plain,
        safe_open(f"{written}/model.safetensors", "pt") as ours,
    ):
        keys = set(ours.keys())
        for name in filter(is_linear, plain.keys()):
            weight = plain.get_tensor(name)
            is_nested = f"{name}.nested_absmax" in keys
            packed, state = functional.quantize_4bit(weight, compress_statistics=is_nested, quant_type="nf4")
            theirs = state.as_dict(packed=True)
            own = {key: ours.get_tensor(f"{name}.{key}") for key in theirs}
            count("codes", ours.get_tensor(name), packed)
            for key in set(theirs) - {"quant_state.bitsandbytes__nf4"}:
                count(f"{key}_8bit" if is_nested and key == "absmax" else key, own[key], theirs[key])
            [state_key] = [key for key in theirs if key.startswith("quant_state")]
            if is_nested:
                offset = json.loads(bytes(own[state_key].tolist()))["nested_offset"]
                count("offset", torch.tensor([offset]), state.offset.reshape(1).cpu())
                absmax = weight.float().reshape(-1, 64).abs().amax(dim=1)
                explain(count, absmax - state.offset, own["absmax"], theirs)
            count("state", own[state_key], theirs[state_key])
            loaded = functional.QuantState.from_dict(own, device="cpu")
            count(
                "dequantized",
                functional.dequantize_4bit(ours.get_tensor(name), loaded),
                functional.dequantize_4bit(packed, state),
            )
    return {key: {"total": total[key], "differ": differ[key]} for key in total}


def explain(count, centered, ours, theirs):
    """The 8-bit codes by two other rules that can be written down."""
    values = theirs["nested_quant_map"].numpy()
    scale = np.repeat(theirs["nested_absmax"].numpy(), 256)[: centered.numel()]
    x = centered.numpy() * (np.float32(1) / scale)
    # The compiled library: x is rounded to one of 65,536 places, and each place has the code nearest to it.
    places = np.arange(65536, dtype=np.float32) * np.float32(2 / 65535) - np.float32(1)
    table = np.searchsorted((values[:-1] + values[1:]) / 2, places).astype(np.uint8)
    place = ((x + np.float32(1)) * np.float32(32767.5) + np.float32(0.5)).astype(np.int64)
    count("absmax_8bit_by_table", torch.from_numpy(table[place]), theirs["absmax"])
    # CUDA, but for its approximate division: of two codes as near, the even one.
    count("absmax_8bit_by_cuda", ours, torch.from_numpy(search_as_cuda(values, x)))


def search_as_cuda(values, x):
    """kQuantizeBlockwise's binary search: seven steps, and a comparison with one neighbor."""
    pivot = np.full(x.shape, 127)
    low, high = np.zeros_like(pivot), np.full_like(pivot, 255)
    for step in (64, 32, 16, 8, 4, 2, 1):
        above = x > values[pivot]
        low, high = np.where(above, pivot, low), np.where(above, high, pivot)
        pivot = pivot + np.where(above, step, -step)
    above = x > values[pivot]
    neighbor = np.where(above, high, low)
    middle = (values[neighbor] + values[pivot]) * np.float32(0.5)
    moves = np.where(above, x > middle, x < middle)
    return np.where(moves, neighbor, pivot).astype(np.uint8)


def bits(tensor):
    kinds = {1: torch.uint8, 2: torch.int16, 4: torch.int32}
    return tensor.contiguous().view(kinds[tensor.element_size()])


if __name__ == "__main__":
    {"sources": sources, "compare": compare}[sys.argv[1]](*sys.argv[2:])
