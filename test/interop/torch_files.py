"""Files of torch.save, and an adapter that PEFT saved as a pickle, with what is in them told beside.

    python torch_files.py tensors OUTPUT …      in each folder NAME.pt of random tensors in all ways of saving, and tensors.json
    python torch_files.py adapter OUTPUT        one adapter as OUTPUT/pickled and as OUTPUT/safe

tensors.json has for every file and tensor its type, its shape and the SHA-256 of its elements' bytes in order.
"""

import hashlib
import json
import random
import sys
from collections import OrderedDict
from pathlib import Path

import torch

OLD_TYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
]  # fmt: skip
NEW_TYPES = [torch.uint16, torch.uint32, torch.uint64, torch.float8_e4m3fn, torch.float8_e5m2]
TENSORS = 60


def random_bits(dtype, shape):
    """Any bits at all, NaNs with payloads too; a bool is 0 or 1."""
    size = torch.empty(0, dtype=dtype).element_size()
    count = int(torch.tensor(shape).prod()) if shape else 1
    if dtype == torch.bool:
        return torch.randint(0, 2, shape).bool()
    return torch.randint(0, 256, (count * size,), dtype=torch.uint8).view(dtype).reshape(shape)


def random_view(tensor):
    """A few turns, cuts, steps and picks, as they come."""
    for _ in range(random.randint(0, 4)):
        dims = tensor.dim()
        if dims == 0:
            return tensor
        dim = random.randrange(dims)
        size = tensor.shape[dim]
        kind = random.choice(["transpose", "slice", "step", "select", "unsqueeze", "diagonal", "permute"])
        if kind == "transpose":
            tensor = tensor.transpose(dim, random.randrange(dims))
        elif kind == "slice":
            start = random.randint(0, size)
            tensor = tensor.narrow(dim, start, random.randint(0, size - start))
        elif kind == "step":
            tensor = tensor[(slice(None),) * dim + (slice(None, None, random.randint(1, 3)),)]
        elif kind == "select" and size > 0:
            tensor = tensor.select(dim, random.randrange(size))
        elif kind == "unsqueeze":
            tensor = tensor.unsqueeze(dim)
        elif kind == "diagonal" and dims > 1:
            tensor = tensor.diagonal(0, 0, 1)
        elif kind == "permute":
            tensor = tensor.permute(random.sample(range(dims), dims))
    return tensor


def random_tensors(types):
    tensors = OrderedDict()
    for index in range(TENSORS):
        shape = [random.randint(1, 9) for _ in range(random.randint(0, 4))]
        base = random_bits(types[index % len(types)], shape)
        # Some share a storage.
        for part in range(random.randint(1, 2)):
            view = random_view(base)
            kept = torch.nn.Parameter(view, requires_grad=False) if index % 7 == 0 else view
            tensors[f"t{index}.{part}"] = kept
    return tensors


def described(tensor):
    data = tensor.detach().clone(memory_format=torch.contiguous_format).flatten()
    raw = data.view(torch.uint8).numpy().tobytes() if data.numel() else b""
    return {
        "dtype": str(tensor.dtype)[6:],
        "shape": list(tensor.shape),
        "sha256": hashlib.sha256(raw).hexdigest(),
    }


def tensors(*outputs):
    for seed, output in enumerate(outputs):
        save_tensors(output, seed)


def save_tensors(output, seed):
    torch.manual_seed(seed)
    random.seed(seed)
    all_types = OLD_TYPES + NEW_TYPES
    saved = {f"protocol-{n}": (random_tensors(all_types), {"pickle_protocol": n}) for n in range(2, 6)}
    saved["legacy"] = (random_tensors(OLD_TYPES), {"_use_new_zipfile_serialization": False})
    saved["nested"] = ({"state_dict": random_tensors(all_types), "epoch": 3, "lr": [0.1]}, {})
    told = {}
    for name, (content, options) in saved.items():
        torch.save(content, Path(output) / f"{name}.pt", **options)
        state = content.get("state_dict", content)
        told[name] = {key: described(tensor) for key, tensor in state.items()}
    (Path(output) / "tensors.json").write_text(json.dumps(told))


def adapter(output):
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2,
    )  # fmt: skip
    targets = ["q_proj", "down_proj"]
    model = get_peft_model(LlamaForCausalLM(config), LoraConfig(r=3, lora_alpha=5, target_modules=targets))
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter)
    model.save_pretrained(Path(output) / "pickled", safe_serialization=False)
    model.save_pretrained(Path(output) / "safe")


globals()[sys.argv[1]](*sys.argv[2:])
