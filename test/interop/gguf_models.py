"""GGUF files of random weights, written with Python's gguf as llama.cpp's converter would, and judged.

    python gguf_models.py write FOLDER        makes the files
    python gguf_models.py judge FOLDER        compares what Hone made of them, which lies beside them
    python gguf_models.py real GGUF HASHES    compares Hone's SHA-256 of each tensor of a real file

Names come from gguf's own table, quantization and its inverse from gguf.quants. The layout is that of
convert_hf_to_gguf.py, told again: `permute` for queries and keys of Llama and InternLM2, one added to Gemma's norms,
InternLM2's wqkv taken apart.
"""

import hashlib
import json
import math
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers as t
from gguf import GGMLQuantizationType as Type
from gguf.quants import dequantize, quantize
from transformers import AutoModelForCausalLM

BLOCK_TYPES = {
    # Where a block has its f16 units. Q4_K, Q5_K and Q6_K are not written by Python: any bytes are such a block.
    Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q8_0: [0],
    Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208],
}  # fmt: skip
WEIGHTS = 1 << 20
VOCAB = 96


def shape(**others):
    return {
        "vocab_size": VOCAB,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        **others,
    }


def rope(kind="default", theta=10000.0, **others):
    return {"rope_type": kind, "rope_theta": theta, **others}


def architectures():
    """Name to (architecture, transformers' config, type of the matrices in the file)."""
    llama3 = rope(
        "llama3", 500000.0, factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192
    )
    longrope = rope(
        "longrope",
        partial_rotary_factor=0.75,
        short_factor=[1.0, 1.25, 1.1, 1.3, 2.0, 2.8],
        long_factor=[1.1, 1.9, 4.75, 9.3, 20.5, 40.125],
        original_max_position_embeddings=16,
    )
    gemma_layers = ["full_attention" if i % 6 == 5 else "sliding_attention" for i in range(7)]
    return {
        "llama": ("llama", t.LlamaConfig(**shape(tie_word_embeddings=True), rope_parameters=rope(theta=100000.0)), Type.Q4_0),
        "llama with biases and heads of 32": (
            "llama",
            t.LlamaConfig(**shape(head_dim=32, attention_bias=True, mlp_bias=True), rope_parameters=rope()),
            Type.Q8_0,
        ),
        "llama 3.2": ("llama", t.LlamaConfig(**shape(head_dim=32), rope_parameters=llama3), Type.F32),
        "mistral": (
            "llama",
            t.MistralConfig(**shape(head_dim=32, sliding_window=8), rope_parameters=rope(theta=1000000.0)),
            Type.BF16,
        ),
        "linear scaling": ("llama", t.LlamaConfig(**shape(), rope_parameters=rope("linear", factor=4.0)), Type.F16),
        "internlm2": ("internlm2", t.LlamaConfig(**shape(), rope_parameters=rope(theta=1000000.0)), Type.Q5_0),
        "qwen2": ("qwen2", t.Qwen2Config(**shape(tie_word_embeddings=True), rope_parameters=rope(theta=1e6)), Type.Q4_1),
        "qwen2 with yarn": (
            "qwen2",
            t.Qwen2Config(
                **shape(), rope_parameters=rope("yarn", 1e6, factor=4.0, original_max_position_embeddings=128)
            ),
            Type.F16,
        ),
        "qwen3": ("qwen3", t.Qwen3Config(**shape(head_dim=32), rope_parameters=rope(theta=1e6)), Type.Q5_1),
        "gemma3": (
            "gemma3",
            t.Gemma3TextConfig(
                **shape(num_hidden_layers=7, head_dim=32, tie_word_embeddings=True, sliding_window=8, query_pre_attn_scalar=32),
                layer_types=gemma_layers,
                rope_parameters={
                    "full_attention": rope("linear", 1e6, factor=8.0),
                    "sliding_attention": rope(theta=10000.0),
                },
            ),
            Type.BF16,
        ),
        "phi3": ("phi3", t.Phi3Config(**shape(num_key_value_heads=4, sliding_window=8), rope_parameters=rope()), Type.Q8_0),
        "phi 4 mini": (
            "phi3",
            t.Phi3Config(
                **shape(tie_word_embeddings=True, original_max_position_embeddings=16), rope_parameters=longrope
            ),
            Type.F16,
        ),
    }  # fmt: skip


def random_model(config, kind, seed):
    """With all weights at random, and matrices rounded as the file will round them."""
    generator = torch.Generator().manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config).eval()
    is_gemma = config.model_type == "gemma3_text"
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() == 1:
                # Of bf16's few bits, as in published models: one is added and taken off again in f32 without loss.
                parameter.copy_((0.2 * noise + (0.0 if is_gemma else 1.0)).bfloat16())
            else:
                rounded = dequantize(stored(noise.numpy() / parameter.shape[1] ** 0.5, kind), kind)
                parameter.copy_(torch.from_numpy(np.ascontiguousarray(rounded)))
    return model


def stored(values, kind):
    values = values.astype(np.float32)
    return values.view(np.uint8) if kind == Type.F32 else quantize(values, kind)


def write(folder):
    random = np.random.default_rng(5)
    for kind, units in BLOCK_TYPES.items():
        size, block_bytes = gguf.GGML_QUANT_SIZES[kind]
        blocks = random.integers(0, 256, (WEIGHTS // size, block_bytes), np.uint8)
        for unit in units:
            halves = random.normal(0, 0.01, len(blocks)).astype(np.float16)
            blocks[:, unit : unit + 2] = halves.view(np.uint8).reshape(-1, 2)
        rows = blocks.reshape(512, -1)
        dequantize(rows, kind).tofile(folder / f"{kind.name}.f32")
        writer = gguf.GGUFWriter(folder / f"{kind.name}.gguf", "llama")
        write_sizes(writer, t.LlamaConfig(**shape()))
        writer.add_tensor("token_embd.weight", np.zeros((VOCAB, 64), np.float32))
        writer.add_tensor("blk.0.ffn_down.weight", rows, raw_dtype=kind)
        finish(writer)
    for seed, (name, (architecture, config, kind)) in enumerate(architectures().items()):
        model = random_model(config, kind, seed)
        model.save_pretrained(folder / name / "theirs")
        write_model(folder / name / "model.gguf", architecture, model, kind)


def write_sizes(writer, config):
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)


def write_model(path, architecture, model, kind):
    config = model.config
    writer = gguf.GGUFWriter(path, architecture)
    write_sizes(writer, config)
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if getattr(config, "head_dim", None):
        writer.add_key_length(head)
        writer.add_value_length(head)
    parameters = config.rope_parameters
    parameters = parameters.get("full_attention", parameters)
    writer.add_rope_freq_base(parameters["rope_theta"])
    if architecture == "llama":
        writer.add_vocab_size(config.vocab_size)
        writer.add_rope_dimension_count(head)
    if config.model_type in ["mistral", "gemma3_text"]:
        writer.add_sliding_window(config.sliding_window)
    if architecture == "phi3":
        writer.add_sliding_window(config.sliding_window or 0)
        writer.add_rope_scaling_orig_ctx_len(config.original_max_position_embeddings)
        writer.add_rope_dimension_count(int(parameters["partial_rotary_factor"] * head))
    write_scaling(writer, config, parameters, head)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"t{i}" for i in range(config.vocab_size)])
    writer.add_token_types([1] * config.vocab_size)
    writer.add_bos_token_id(config.bos_token_id)
    writer.add_eos_token_id(config.eos_token_id)
    writer.add_pad_token_id(config.pad_token_id)

    arch = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    for name, values in converted(architecture, model):
        found = names.get_name(name, try_suffixes=(".weight", ".bias"))
        is_matrix = values.ndim > 1
        data = stored(values, kind if is_matrix else Type.F32)
        if not is_matrix or kind == Type.F32:
            writer.add_tensor(found, values.astype(np.float32))
        elif kind == Type.F16:
            writer.add_tensor(found, data)
        else:
            writer.add_tensor(found, data, raw_dtype=kind)
    finish(writer)


def write_scaling(writer, config, parameters, head):
    """RoPE's scaling in metadata, or as a tensor of divisors."""
    kind = parameters["rope_type"]
    if kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(parameters["factor"])
    if kind == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(parameters["factor"])
        writer.add_rope_scaling_orig_ctx_len(parameters["original_max_position_embeddings"])
    if kind == "longrope":
        original = config.original_max_position_embeddings
        stretch = config.max_position_embeddings / original
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(stretch) / math.log(original)))
        for length in ["long", "short"]:
            writer.add_tensor(f"rope_factors_{length}.weight", np.array(parameters[f"{length}_factor"], np.float32))
    if kind == "llama3":
        frequencies = 1.0 / (parameters["rope_theta"] ** (torch.arange(0, head, 2, dtype=torch.float32) / head))
        original, factor = parameters["original_max_position_embeddings"], parameters["factor"]
        low, high = parameters["low_freq_factor"], parameters["high_freq_factor"]
        divisors = []
        for frequency in frequencies:
            wavelength = 2 * math.pi / frequency
            if wavelength < original / high:
                divisors.append(1)
            elif wavelength > original / low:
                divisors.append(factor)
            else:
                smooth = (original / wavelength - low) / (high - low)
                divisors.append(1 / ((1 - smooth) / factor + smooth))
        writer.add_tensor("rope_freqs.weight", torch.tensor(divisors, dtype=torch.float32).numpy())


def converted(architecture, model):
    """Names and values as the converter hands them to the writer."""
    config = model.config
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    if config.tie_word_embeddings:
        del weights["lm_head.weight"]
    if architecture == "internlm2":
        weights = split_again(weights, config)
    for name, values in weights.items():
        if architecture in ["llama", "internlm2"]:
            if ".q_proj." in name:
                values = permute(values, config.num_attention_heads)
            if ".k_proj." in name:
                values = permute(values, config.num_key_value_heads)
        if architecture == "gemma3" and name.endswith("norm.weight"):
            values = values + np.float32(1)
        yield name, np.ascontiguousarray(values)


def permute(weights, heads):
    return (
        weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:]).swapaxes(1, 2).reshape(weights.shape)
    )


def split_again(weights, config):
    """Fuses q, k and v as InternLM2 has them, key head by key head, and takes wqkv apart as the converter does."""
    groups, size = config.num_key_value_heads, config.hidden_size // config.num_attention_heads
    per_group = config.num_attention_heads // groups
    result = dict(weights)
    for layer in range(config.num_hidden_layers):
        name = f"model.layers.{layer}.self_attn.%s_proj.weight"
        rows = {part: weights[name % part].reshape(groups, -1, size, config.hidden_size) for part in "qkv"}
        wqkv = np.concatenate([rows["q"], rows["k"], rows["v"]], axis=1).reshape(-1, config.hidden_size)
        apart = wqkv.reshape(groups, per_group + 2, size, config.hidden_size)
        parts = {"q": apart[:, :per_group], "k": apart[:, -2], "v": apart[:, -1]}
        for part, values in parts.items():
            result[name % part] = values.reshape(-1, config.hidden_size)
    return result


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def judge(folder):
    types = {}
    for kind in BLOCK_TYPES:
        theirs = np.fromfile(folder / f"{kind.name}.f32", np.uint32)
        ours = np.fromfile(folder / f"{kind.name}.ours", np.uint32)
        types[kind.name] = {"weights": len(theirs), "different": int((theirs != ours).sum())}
    models = {}
    for name, (_, _, kind) in architectures().items():
        theirs, ours = load(folder / name / "theirs"), load(folder / name / "ours")
        expected, found = theirs.state_dict(), ours.state_dict()
        assert list(expected) == list(found), name
        # More tokens than any window and than longrope's original length, and fewer.
        errors = []
        for tokens in [7, 40]:
            ids = torch.arange(3, 3 + tokens)[None] * 7 % VOCAB
            with torch.no_grad():
                difference = (theirs(ids).logits - ours(ids).logits).abs().max()
                errors.append(float(difference / theirs(ids).logits.abs().max()))
        models[name] = {
            "kind": kind.name,
            "modelType": [theirs.config.model_type, ours.config.model_type],
            "tensors": len(expected),
            "different": [key for key in expected if not torch.equal(expected[key], found[key])],
            "logits": max(errors),
            "config": differing_keys(theirs.config.to_dict(), ours.config.to_dict()),
        }
    print(json.dumps({"types": types, "models": models}))


# Of the program that wrote a config, not of the model; or said again elsewhere, in "rope_parameters".
APART = {"_name_or_path", "dtype", "transformers_version", "_sliding_window_pattern", "partial_rotary_factor"}


def differing_keys(theirs, ours):
    for config in [theirs, ours]:
        config["rope_parameters"].pop("type", None)  # the old name of "rope_type", which transformers adds
    keys = {*theirs, *ours} - APART
    return {key: [theirs.get(key), ours.get(key)] for key in keys if theirs.get(key) != ours.get(key)}


def real(path, hashes):
    """A file of llama.cpp's own, whose queries and keys are put back in order here."""
    ours = json.loads(Path(hashes).read_text())
    reader = gguf.GGUFReader(path)
    heads = {
        "attn_q": reader.get_field("llama.attention.head_count").contents(),
        "attn_k": reader.get_field("llama.attention.head_count_kv").contents(),
    }
    weights, different = 0, []
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type)
        module = tensor.name.split(".")[-2]
        if module in heads:
            rows = values.shape[0]
            values = values.reshape(heads[module], rows // heads[module] // 2, 2, -1).swapaxes(1, 2).reshape(rows, -1)
        digest = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
        weights += values.size
        if digest not in ours:
            different.append(tensor.name)
    print(json.dumps({"weights": weights, "tensors": len(reader.tensors), "different": different}))


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "real":
        real(*arguments)
    else:
        {"write": write, "judge": judge}[command](Path(*arguments))
