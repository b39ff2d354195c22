"""Models in 4 bits between transformers + bitsandbytes and Hone.

    python bnb.py save JOBS.json     {model, output, options}: quantizes a plain folder and saves it
    python bnb.py check JOBS.json    {model, values, sequences, in_4_bits, dequantized}: a 4-bit folder, what Hone reads
                                     from it as a plain folder, and where to write logits as little-endian f32

`check` loads the folder as a user does and prints how many weights are in 4 bits, and which tensors are not, to the
bit, what Hone reads. Logits are of all positions in order, computed in f32: `in_4_bits` by bitsandbytes, which then
takes the weights in f32; `dequantized` after each is made a plain one, of the type that its state names.
"""

import json
import shutil
import sys
import warnings
from pathlib import Path

import bitsandbytes
import internlm2
import torch
from bitsandbytes.functional import dequantize_4bit
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig

TOKENIZER = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]


assert internlm2.InternLM2ForCausalLM  # importing it is what makes it known to transformers


def save(job):
    options = dict(job["options"])
    dtype = getattr(AutoConfig.from_pretrained(job["model"]), "dtype", None) or torch.bfloat16
    model = AutoModelForCausalLM.from_pretrained(
        job["model"],
        dtype=dtype,
        device_map="cpu",
        quantization_config=BitsAndBytesConfig(load_in_4bit=True, **options),
    )
    model.save_pretrained(job["output"])
    for name in TOKENIZER:
        if (Path(job["model"]) / name).exists():
            shutil.copy(Path(job["model"]) / name, Path(job["output"]) / name)
    return {"linears": len(quantized_modules(model))}


def quantized_modules(model):
    return {name: module for name, module in model.named_modules() if isinstance(module, bitsandbytes.nn.Linear4bit)}


def check(job):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # The suite's own InternLM2 keeps the keys of its day.
        warnings.filterwarnings("ignore", message="`rope_scaling` is deprecated")
        model, info = AutoModelForCausalLM.from_pretrained(
            job["model"], device_map="cpu", dtype=torch.float32, output_loading_info=True
        )
    problems = {key: sorted(map(str, value)) for key, value in info.items() if value}
    model.eval()
    linears = quantized_modules(model)
    ours = load_all(job["values"])
    differing = []
    for name, module in linears.items():
        values = dequantize_4bit(module.weight.data, module.weight.quant_state)
        mine = ours.pop(f"{name}.weight")
        if values.dtype != mine.dtype or not torch.equal(values, mine):
            differing.append(name)
    state = {key: value for key, value in model.state_dict().items() if key in ours}
    for name, mine in ours.items():
        if name not in state or not torch.equal(state[name].float(), mine.float()):
            differing.append(name)
    sequences = json.load(open(job["sequences"]))
    for name, parameter in model.named_parameters():
        # What is not in 4 bits stays of the file's type, whatever dtype one asks for.
        if name in ours:
            parameter.data = parameter.data.float()
    for module in linears.values():
        # The config names bf16, and bitsandbytes may take a shortcut in bf16 on CPUs.
        module.compute_dtype = torch.float32
        module.compute_type_is_set = True
        module.support_avx512bf16_for_cpu = False
    write_logits(model, sequences, job["in_4_bits"])
    for name, module in linears.items():
        plain = torch.nn.Linear(module.in_features, module.out_features, module.bias is not None)
        values = dequantize_4bit(module.weight.data, module.weight.quant_state)
        plain.weight = torch.nn.Parameter(values.float(), requires_grad=False)
        plain.bias = module.bias
        model.set_submodule(name, plain)
    write_logits(model, sequences, job["dequantized"])
    return {
        "linears": len(linears),
        "tensors": len(linears) + len(ours),
        "problems": problems,
        "differing": differing,
    }


def load_all(folder):
    tensors = {}
    for file in Path(folder).glob("*.safetensors"):
        tensors.update(load_file(file))
    return tensors


def write_logits(model, sequences, path):
    with open(path, "wb") as output, torch.no_grad():
        for start in range(0, len(sequences), 5):
            logits = model(input_ids=torch.tensor(sequences[start : start + 5])).logits.float()
            output.write(logits.contiguous().numpy().tobytes())


def main(command, jobs):
    run = {"save": save, "check": check}[command]
    results = [run(job) for job in json.load(open(jobs))]
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
