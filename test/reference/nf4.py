"""NF4 with double quantization, byte for byte as bitsandbytes stores it, in NumPy.

numpy keeps f32 op f32 in f32 and rounds after each operation, as the originals do.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

FIXTURES = Path(__file__).parent.parent / "fixtures"
NUMERICS = json.loads((FIXTURES / "numerics.json").read_text())
# numerics.json has the map of torch 1.13; today's differs in its last bits.
MAP = json.loads((FIXTURES / "bnb" / "dynamic-map.json").read_text())

CODE = np.array(NUMERICS["nf4_code_u32"], np.uint32).view(np.float32)
THRESHOLDS = np.array(NUMERICS["nf4_thresholds"], np.float32)
DYNAMIC = np.array(MAP["bnb_dynamic_map_signed_u32"], np.uint32).view(np.float32)
DYNAMIC_THRESHOLDS = (DYNAMIC[1:] + DYNAMIC[:-1]) * np.float32(0.5)
BLOCK, NESTED_BLOCK = 64, 256


def quantize_blockwise(values, block, thresholds):
    """Codes u8 [n] and each block's largest magnitude. A tie takes the lower code."""
    starts = np.arange(0, len(values), block)
    absmax = np.maximum.reduceat(np.abs(values), starts)
    with np.errstate(divide="ignore", invalid="ignore"):
        reciprocals = np.float32(1) / absmax
        scaled = values * np.repeat(reciprocals, block)[: len(values)]
    short = len(values) % block
    if short:  # a last block that is not full is divided
        absmax[-1] = max(absmax[-1], np.float32(1e-38))
        scaled[-short:] = values[-short:] / absmax[-1]
    # A block of zeros is 0 · inf. The CPU backend gives it code 7, the code of zero.
    scaled = np.nan_to_num(scaled, nan=0.0)
    return np.searchsorted(thresholds, scaled, side="left").astype(np.uint8), absmax


@dataclass
class Nf4:
    packed: np.ndarray  # u8 [n / 2], the even element in the high nibble
    absmax: np.ndarray  # f32 [n / 64]
    quantized_absmax: np.ndarray  # u8 [n / 64]
    nested_absmax: np.ndarray  # f32 [n / 64 / 256], rounded up
    offset: np.float32

    def dequantize(self):
        """f32 [n]."""
        nested = np.repeat(self.nested_absmax, NESTED_BLOCK)[: len(self.quantized_absmax)]
        absmax = DYNAMIC[self.quantized_absmax] * nested + self.offset
        codes = np.stack([self.packed >> 4, self.packed & 15], axis=1).reshape(-1)
        return CODE[codes] * np.repeat(absmax, BLOCK)


def quantize_nf4(values):
    """f32 [n] to NF4 with double quantization. n is a multiple of 64."""
    codes, absmax = quantize_blockwise(values, BLOCK, THRESHOLDS)
    offset = np.float32(torch.from_numpy(absmax).mean().item())
    quantized, nested = quantize_blockwise(absmax - offset, NESTED_BLOCK, DYNAMIC_THRESHOLDS)
    packed = (codes[0::2] << 4) | codes[1::2]
    return Nf4(packed, absmax, quantized, nested, offset)


def check_nf4_against_the_worked_example():
    """The example in numerics.json came from bitsandbytes itself; so must what this file makes."""
    example = NUMERICS["nf4_example"]
    state, weights = 12345, np.empty(48 * 1024)
    for i in range(len(weights)):
        state = (1664525 * state + 1013904223) % 2**32
        weights[i] = (state / 2**32 - 0.5) * 0.2 * (0.25 + ((i // 64) % 7) * 0.125)
    halves = weights.astype(np.float16)
    assert sha256(halves) == example["w_f16_sha256"], "the recipe of the weights"
    stored = quantize_nf4(halves.astype(np.float32))
    assert sha256(stored.packed) == example["packed_sha256"], "packed codes"
    assert float(stored.offset) == example["offset"], "offset"
    assert [float(v) for v in stored.nested_absmax] == example["nested_absmax"], "nested absmax"
    assert sha256(stored.quantized_absmax) == example["qabsmax_sha256"], "quantized absmax"
    dequantized = stored.dequantize().astype(np.float16)
    assert sha256(dequantized) == example["deq_f16_sha256"], "dequantized weights"


def sha256(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
