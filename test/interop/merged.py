"""Merged weights as Hone wrote them, beside PEFT's merge_and_unload and save_pretrained of the same adapter.

    python merged.py JOBS.json

A job is {base, adapter, merged, dtype, reference}; REFERENCE is where the originals save theirs. Prints for each job
{error} or what was compared. Every warning while the merged model loads is an error.
"""

import json
import sys
import traceback
import warnings
from pathlib import Path

import torch
from models import load
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

TEXTS = [
    "Hello, who are you?",
    "  two spaces,\ttab,\n\nnew lines ",
    "def f(x):\n    return x ** 2  # code",
    "naïve café, 12345.678, emoji 😀👩‍👩‍👧, 中文句子。",
    "<s> and </s> and <|im_start|>user\nlook alike<|im_end|>",
]


def tensors_of(folder):
    files = sorted(Path(folder).glob("*.safetensors"))
    return {name: tensor for file in files for name, tensor in load_file(file).items()}


def run(job):
    dtype = getattr(torch, job["dtype"])
    base = load(job["base"])
    reference = PeftModel.from_pretrained(base, job["adapter"]).merge_and_unload().to(dtype)
    reference.save_pretrained(job["reference"])
    ours, theirs = tensors_of(job["merged"]), tensors_of(job["reference"])
    assert set(ours) == set(theirs), set(ours) ^ set(theirs)
    worst = 0.0
    for name, tensor in theirs.items():
        assert ours[name].shape == tensor.shape, name
        assert ours[name].dtype == tensor.dtype, (name, ours[name].dtype, tensor.dtype)
        difference = (ours[name].double() - tensor.double()).abs().max()
        worst = max(worst, float(difference / tensor.double().abs().max()))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, info = AutoModelForCausalLM.from_pretrained(job["merged"], dtype=dtype, output_loading_info=True)
        tokenizer = AutoTokenizer.from_pretrained(job["merged"])
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), info

    original = AutoTokenizer.from_pretrained(job["base"])
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]
        assert ids == original(text)["input_ids"], text
        assert tokenizer.decode(ids) == original.decode(ids), text

    own = AutoConfig.from_pretrained(job["merged"]).to_dict()
    expected = AutoConfig.from_pretrained(job["base"]).to_dict()
    for config in (own, expected):
        for key in ("dtype", "_name_or_path", "transformers_version"):
            config.pop(key, None)
    assert own == expected, {key for key in own if own[key] != expected.get(key)}
    assert getattr(torch, written_dtype(job["merged"])) == dtype

    # Of what save_pretrained writes, nothing is missing; weights lie in the same kind of files.
    names = {path.name for path in Path(job["merged"]).iterdir()}
    expected = {path.name for path in Path(job["reference"]).iterdir() if path.suffix != ".safetensors"}
    if not (Path(job["base"]) / "generation_config.json").exists():
        expected.discard("generation_config.json")  # made of defaults that the base leaves unsaid
    assert expected <= names, expected - names
    for path in Path(job["merged"]).glob("*.safetensors"):
        with open(path, "rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        assert header["__metadata__"]["format"] == "pt", header["__metadata__"]
    index = Path(job["merged"]) / "model.safetensors.index.json"
    if index.exists():
        listed = json.loads(index.read_text())
        assert set(listed["weight_map"]) == set(ours)
        assert listed["metadata"]["total_size"] == sum(t.nbytes for t in ours.values())
    return {"error": None, "difference": worst, "tensors": len(ours), "files": sorted(names)}


def written_dtype(folder):
    config = json.loads((Path(folder) / "config.json").read_text())
    return config.get("dtype", config.get("torch_dtype"))


def main(jobs):
    results = []
    for job in json.load(open(jobs)):
        try:
            results.append(run(job))
        except Exception:
            results.append({"error": traceback.format_exc(limit=-3)})
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
