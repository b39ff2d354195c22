"""Makes adapters with PEFT and saves them as people do.

    python adapters.py JOBS.json

A job is {model, output, kind, config, steps}: the class of the config, such as "LoraConfig", its arguments, and how
many steps to train, enough for every matrix to matter. Prints one error or null per job.
"""

import json
import sys
import traceback

import peft
import torch
from models import load


def run(job):
    torch.manual_seed(1)
    base = load(job["model"])
    config = getattr(peft, job["kind"])(task_type="CAUSAL_LM", **job["config"])
    model = peft.get_peft_model(base, config)
    if job["steps"]:
        train(model, job["steps"])
    model.save_pretrained(job["output"])


def train(model, steps):
    model.train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=2e-2, weight_decay=0.0)
    generator = torch.Generator().manual_seed(2)
    for _ in range(steps):
        ids = torch.randint(5, 2304, (1, 24), generator=generator)
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()


def main(jobs):
    results = []
    for job in json.load(open(jobs)):
        try:
            results.append(run(job))
        except Exception:
            results.append(traceback.format_exc(limit=-3))
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
