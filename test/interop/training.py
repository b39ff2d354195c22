"""QLoRA with PEFT and bitsandbytes: NF4 with double quantization, f32 compute, AdamW, dropout 0.

    python training.py JOBS.json

A job is {model, output, steps, length, rank, alpha, targets, rates, decay, clip}. Writes OUTPUT/start (the adapter
before the first step), OUTPUT/end (after the last), and OUTPUT/run.json: rows of ids and labels in the order of the
steps, and each step's loss and gradient norm. Prints one error or null per job.
"""

import json
import sys
import time
import traceback
from pathlib import Path

import torch
from nf4 import import_bitsandbytes

# Scales quantized as bitsandbytes defines it; its compiled library for CPUs takes other codes for a few.
import_bitsandbytes("default")

import bitsandbytes
from models import load
from peft import LoraConfig, get_peft_model
from transformers import AutoTokenizer, BitsAndBytesConfig

SENTENCES = """
The river bends twice before it reaches the sea, and the town lies in the second bend.
Bread needs flour, water, salt and a little patience.
She opened the window to let the morning in.
A prime number has exactly two divisors, one and itself.
The old bridge was closed for repairs until the spring.
Copper turns green when rain and air have had their time with it.
He wrote the letter three times and sent none of them.
Most stars are smaller and redder than the sun.
When the kettle sings, the tea is nearly ready.
Light from the moon takes a little over a second to arrive.
The library keeps its oldest maps in flat drawers in the cellar.
To sharpen a knife, hold the angle and let the stone do the work.
Two trains leave the station at the same hour and never meet.
The recipe calls for butter, but oil will do as well.
Every winter the lake freezes from the shore towards the middle.
An octopus has three hearts and no bones at all.
The clock in the hall has been wrong since before we moved in.
Write the tests first and the code will know where to go.
Rice is sown in trays and planted out by hand.
If the wind turns, we shall smell the salt from here.
The violin is tuned in fifths from the lowest string up.
Nobody could say when the path had last been used.
Seeds that fall on stone wait for a bird or for rain.
Please call me back after four, I shall be home by then.
"""


def rows_of(tokenizer, length):
    """Each sentence as one row: cut, or filled up with tokens that carry no loss."""
    rows = []
    for sentence in SENTENCES.strip().split("\n"):
        ids = tokenizer(sentence, add_special_tokens=False)["input_ids"][:length]
        fill = [tokenizer.eos_token_id or 0] * (length - len(ids))
        rows.append({"ids": ids + fill, "labels": ids + [-100] * len(fill)})
    return rows


class Remembered:
    """bitsandbytes' own matmul with each weight dequantized once, and not anew in every pass.

    On a CPU it dequantizes, then calls torch's linear; the base is frozen, so the numbers are the same, and a step
    takes a tenth of the time.
    """

    def __init__(self):
        self.original = bitsandbytes.matmul_4bit
        self.weights = {}

    def __enter__(self):
        bitsandbytes.matmul_4bit = self.matmul

    def __exit__(self, *_):
        bitsandbytes.matmul_4bit = self.original

    def matmul(self, x, packed, quant_state, out=None, bias=None):
        if id(quant_state) not in self.weights:
            weight = bitsandbytes.functional.dequantize_4bit(packed.view(-1, 1), quant_state)
            self.weights[id(quant_state)] = weight.to(x.dtype)
        return torch.nn.functional.linear(x, self.weights[id(quant_state)], bias)


def loss_of(model, row):
    logits = model(input_ids=torch.tensor([row["ids"]])).logits[0, :-1]
    return torch.nn.functional.cross_entropy(logits, torch.tensor(row["labels"][1:]))


def run(job):
    started = time.time()
    torch.manual_seed(3)
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )
    base = load(job["model"], quantization_config=quantization, device_map="cpu")
    lora = LoraConfig(
        task_type="CAUSAL_LM",
        r=job["rank"],
        lora_alpha=job["alpha"],
        target_modules=job["targets"],
        lora_dropout=0.0,
    )
    model = get_peft_model(base, lora)
    output = Path(job["output"])
    model.save_pretrained(output / "start")

    rows = rows_of(AutoTokenizer.from_pretrained(job["model"]), job["length"])
    order = [row for _ in range(job["steps"]) for row in torch.randperm(len(rows)).tolist()]
    order = order[: job["steps"]]
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1.0, weight_decay=job["decay"])
    model.train()
    first = float(loss_of(model, rows[order[0]]))  # as it is, to hold the remembered weights against
    losses, norms = [], []
    with Remembered():
        for row, rate in zip(order, job["rates"], strict=True):
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad()
            loss = loss_of(model, rows[row])
            loss.backward()
            norms.append(float(torch.nn.utils.clip_grad_norm_(parameters, job["clip"])))
            optimizer.step()
            losses.append(float(loss))
    assert abs(losses[0] - first) <= 1e-6 * first, (losses[0], first)
    model.save_pretrained(output / "end")
    result = {
        "rows": [rows[row] for row in order],
        "losses": losses,
        "norms": norms,
        "seconds": time.time() - started,
    }
    (output / "run.json").write_text(json.dumps(result))


def main(jobs):
    torch.set_num_threads(1)  # rows this short are done before a second thread is awake
    results = []
    for job in json.load(open(jobs)):
        try:
            results.append(run(job))
        except Exception:
            results.append(traceback.format_exc(limit=-3))
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
