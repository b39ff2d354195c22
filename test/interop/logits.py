"""Logits of transformers, with a PEFT adapter or without, for a list of jobs.

    python logits.py JOBS.json

A job is {model, adapter?, strict?, sequences, output}: folders, a JSON file of lists of ids, and where to write the
logits of all positions in order as little-endian f32. Prints a list with, for each job, {error} or what was loaded.
Every warning while a model or an adapter loads is an error, unless strict is false.
"""

import json
import sys
import traceback
import warnings

import torch
from models import load
from safetensors.torch import load_file


def load_with_adapter(job):
    if not job.get("adapter"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return load(job["model"]), 0
    from peft import PeftModel, get_peft_model_state_dict

    base = load(job["model"])
    with warnings.catch_warnings():
        warnings.simplefilter("error" if job.get("strict", True) else "ignore")
        # PEFT asks transformers 5 by an old name; that is between the two.
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
        model = PeftModel.from_pretrained(base, job["adapter"])
    # What the file holds is what the model has, name by name and bit by bit.
    file = load_file(job["adapter"] + "/adapter_model.safetensors")
    loaded = get_peft_model_state_dict(model)
    matrices = {name for name in file if "lora_" in name}
    assert matrices == {name for name in loaded if "lora_" in name}, matrices ^ set(loaded)
    for name in matrices:
        assert torch.equal(file[name].float(), loaded[name].float()), name
    return model.eval(), len(matrices)


def run(job):
    model, tensors = load_with_adapter(job)
    sequences = json.load(open(job["sequences"]))
    with open(job["output"], "wb") as output, torch.no_grad():
        # Rows of one length go together; they are in order anyway.
        for start in range(0, len(sequences), 5):
            rows = sequences[start : start + 5]
            logits = model(input_ids=torch.tensor(rows)).logits.float()
            output.write(logits.contiguous().numpy().tobytes())
    return {"adapterTensors": tensors}


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
