"""Writes test/fixtures/gguf: small GGUF files and what Python's gguf makes of them.

    python -m venv venv && venv/bin/pip install gguf==0.19.0 numpy==2.4.6
    venv/bin/python test/reference/make_gguf_fixtures.py

A second run writes the same bytes.
"""

from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import GGUFValueType as Value
from gguf import GGUFWriter
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize

FOLDER = Path(__file__).parent.parent / "fixtures" / "gguf"

# f16, in pairs for types whose blocks have two: both zeros, the smallest and largest subnormals and normals of
# both signs, infinity and NaN, alone and against each other.
SPECIAL = [
    (0x0000, 0x0000), (0x8000, 0x0000), (0x8000, 0x8000), (0x0001, 0x0000), (0x8001, 0x8000), (0x03FF, 0x83FF),
    (0x0400, 0x0001), (0x7BFF, 0xFBFF), (0x7BFF, 0x7BFF), (0xFBFF, 0x0000), (0x7C00, 0x3C00), (0x3C00, 0x7C00),
    (0xFC00, 0x7C00), (0x7E00, 0x3C00), (0x3C00, 0x7E00), (0x3C00, 0x3C00),
]

# Where in a block its f16 units are.
UNITS = {
    Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q8_0: [0],
    Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208],
}
# As many special blocks, and as many and more of usual weights.
BLOCKS = {32: 64, 256: 24}


def write_blocks():
    """For each type a tensor of random blocks, and next to it its values as f32."""
    random = np.random.default_rng(20)
    writer = GGUFWriter(FOLDER / "blocks.gguf", "none")
    for kind in [Type.F16, Type.BF16]:
        bits = random.integers(0, 1 << 16, 501, np.uint16)
        # The last three are bf16's infinities and smallest number.
        special = [first for first, _ in SPECIAL] + [0x7F80, 0xFF80, 0x0001]
        bits[: len(special)] = special
        # The writer takes bytes for every type but F16, whose numbers it wants.
        add(writer, kind, bits.view(np.float16 if kind == Type.F16 else np.uint8).reshape(3, -1))
    for kind, units in UNITS.items():
        size, block_bytes = GGML_QUANT_SIZES[kind]
        blocks = random.integers(0, 256, (BLOCKS[size], block_bytes), np.uint8)
        for i, unit in enumerate(units):
            halves = random.normal(0, 0.01, len(blocks)).astype(np.float16).view(np.uint16)
            halves[: len(SPECIAL)] = [pair[i] for pair in SPECIAL]
            blocks[:, unit : unit + 2] = halves.view(np.uint8).reshape(-1, 2)
        # Rows of four blocks or of one.
        add(writer, kind, blocks.reshape(-1, block_bytes * (4 if size == 32 else 1)))
    finish(writer)


def add(writer, kind, data):
    writer.add_tensor(kind.name, data, raw_dtype=kind)
    with np.errstate(all="ignore"):
        writer.add_tensor(f"{kind.name}.expected", dequantize(data, kind))


def write_metadata():
    """Every type of value, and an alignment of its own."""
    writer = GGUFWriter(FOLDER / "metadata.gguf", "none")
    writer.add_custom_alignment(64)
    writer.add_uint8("u8", 255)
    writer.add_int8("i8", -128)
    writer.add_uint16("u16", 65535)
    writer.add_int16("i16", -32768)
    writer.add_uint32("u32", 4294967295)
    writer.add_int32("i32", -2147483648)
    writer.add_float32("f32", 0.1)
    writer.add_uint64("u64", 2**64 - 1)
    writer.add_uint64("u64.small", 2**53 - 1)
    writer.add_int64("i64", -(2**63))
    writer.add_float64("f64", 0.1)
    writer.add_bool("yes", True)
    writer.add_bool("no", False)
    writer.add_string("text", "你好 \0 é🐝")
    writer.add_string("text.bom", "\ufeff.")
    for name, kind, values in [
        ("u8s", Value.UINT8, [0, 255]),
        ("i8s", Value.INT8, [-128, 127]),
        ("u16s", Value.UINT16, [65535]),
        ("i16s", Value.INT16, [-1, 2, -3]),
        ("u32s", Value.UINT32, [4294967295, 7]),
        ("i32s", Value.INT32, [-7, 7]),
        ("f32s", Value.FLOAT32, [0.1, -0.0]),
        ("f64s", Value.FLOAT64, [0.1]),
        ("u64s", Value.UINT64, [2**64 - 1, 3]),
        ("bools", Value.BOOL, [True, False, True]),
        ("texts", Value.STRING, ["", "a", "字"]),
    ]:
        writer.add_key_value(name, values, Value.ARRAY, sub_type=kind)
    writer.add_array("lists", [[1, 2], [3]])
    writer.add_tensor("odd", np.arange(15, dtype=np.float32).reshape(3, 5))
    writer.add_tensor("next", np.arange(24, dtype=np.float32).reshape(2, 3, 4))
    finish(writer)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    write_blocks()
    write_metadata()
