"""The same QLoRA step and the same decoding in PyTorch, for the GPU that Hone was measured on.

With bitsandbytes and PEFT installed, it is theirs: Linear4bit (NF4, double quantization), LoRA on every linear
layer but the head, gradient checkpointing, AdamW. Where one of them is missing, a linear map that is stored in NF4
and expanded for every product, and a LoRA around it, stand in for it; the record says which was measured.
Weights are random: nothing is downloaded. InternLM2's blocks compute what Llama's do, and run as such.

    python3 torch_qlora.py --shape llama-3.2-1b --tokens 2048 --json out.json
"""

import argparse
import json
import math
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional

SHAPES = {
    "llama-3.2-1b": dict(
        hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32,
        num_key_value_heads=8, head_dim=64, vocab_size=128256, tie_word_embeddings=True,
    ),
    "internlm2-1.8b": dict(
        hidden_size=2048, intermediate_size=8192, num_hidden_layers=24, num_attention_heads=16,
        num_key_value_heads=8, head_dim=128, vocab_size=92544, tie_word_embeddings=False,
    ),
    "seedling": dict(
        hidden_size=128, intermediate_size=352, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, head_dim=32, vocab_size=2048, tie_word_embeddings=True,
    ),
}  # fmt: skip
RANK, ALPHA, DROPOUT, LEARNING_RATE = 16, 32, 0.1, 1e-4

NF4 = torch.tensor([
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
    -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
    0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
    0.7229568362236023, 1.0,
])  # fmt: skip


class ExpandNf4(torch.autograd.Function):
    """x · Wᵀ with W kept in 4 bits: expanded here, thrown away, and expanded again for the gradient of x."""

    @staticmethod
    def forward(ctx, x, layer):
        ctx.layer = layer
        return functional.linear(x, layer.expand(x.dtype))

    @staticmethod
    def backward(ctx, dy):
        return dy @ ctx.layer.expand(dy.dtype), None


class Nf4Linear(nn.Module):
    """A frozen linear map in NF4, blocks of 64, two codes a byte. Stands in for bitsandbytes' Linear4bit."""

    def __init__(self, linear):
        super().__init__()
        weight = linear.weight.data.float()
        self.out_features, self.in_features = weight.shape
        blocks = weight.reshape(-1, 64)
        absmax = blocks.abs().amax(dim=1)
        edges = ((NF4[1:] + NF4[:-1]) / 2).to(weight.device)
        codes = torch.bucketize(blocks / absmax[:, None].clamp_min(1e-30), edges).to(torch.uint8)
        codes = codes.reshape(-1, 2)
        self.register_buffer("packed", (codes[:, 0] << 4) | codes[:, 1])
        self.register_buffer("absmax", absmax)
        # Both values of every byte, so that one lookup expands two weights.
        both = torch.stack([NF4.repeat_interleave(16), NF4.repeat(16)], dim=1).to(weight.device)
        self.register_buffer("table", both)

    def expand(self, dtype):
        pairs = functional.embedding(self.packed.int(), self.table.to(dtype))
        scaled = pairs.view(-1, 64) * self.absmax[:, None].to(dtype)
        return scaled.view(self.out_features, self.in_features)

    def forward(self, x):
        return ExpandNf4.apply(x, self)


class LoraLinear(nn.Module):
    """PEFT's LoRA layer, for where PEFT is not installed: f32 factors, used in the type of x."""

    def __init__(self, base):
        super().__init__()
        self.base = base
        device = base.packed.device
        self.a = nn.Parameter(torch.empty(RANK, base.in_features, device=device))
        self.b = nn.Parameter(torch.zeros(base.out_features, RANK, device=device))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, x):
        low = functional.linear(functional.dropout(x, DROPOUT, self.training), self.a.to(x.dtype))
        return self.base(x) + functional.linear(low, self.b.to(x.dtype)) * (ALPHA / RANK)


def make_model(shape, device, dtype, wants, keep):
    """The model with random weights, quantized and adapted; and what did that."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        **SHAPES[shape], max_position_embeddings=8192, rope_theta=500000.0, attn_implementation="sdpa",
    )  # fmt: skip
    torch.manual_seed(1)
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(default)
    model.requires_grad_(False)
    quantizer = quantize(model, device, dtype, wants)
    adapter = adapt(model, wants, quantizer, keep == "inputs")
    model = adapter.pop("model", model)
    trainable = [p for p in model.parameters() if p.requires_grad]
    return model, trainable, {"quantizer": quantizer, "adapter": adapter["name"]}


def replace_linears(model, make):
    for name, module in list(model.named_modules()):
        for child_name, child in list(module.named_children()):
            if isinstance(child, nn.Linear) and child_name != "lm_head":
                setattr(module, child_name, make(child))
                del child


def has_ragged_inputs(model):
    return any(m.in_features % 64 != 0 for m in model.modules() if isinstance(m, nn.Linear))


def quantize(model, device, dtype, wants):
    if wants != "plain":
        try:
            import bitsandbytes as bnb

            if device == "cpu" and has_ragged_inputs(model):
                raise ImportError("its CPU kernels want inputs in multiples of 64")

            def make(linear):
                new = bnb.nn.Linear4bit(
                    linear.in_features, linear.out_features, bias=False, compute_dtype=dtype,
                    compress_statistics=True, quant_type="nf4",
                )  # fmt: skip
                new.weight = bnb.nn.Params4bit(
                    linear.weight.data.cpu(), requires_grad=False, compress_statistics=True, quant_type="nf4",
                )  # fmt: skip
                return new.to(device)

            replace_linears(model, make)
            model.is_loaded_in_4bit = True
            return f"bitsandbytes {bnb.__version__}"
        except ImportError as error:
            if wants == "peft":
                raise
            print(f"bitsandbytes: {error}; a dequantizing linear in PyTorch stands in", file=sys.stderr)
    replace_linears(model, Nf4Linear)
    return "NF4 dequantizing linear in PyTorch"


def adapt(model, wants, quantizer, checkpoints):
    if wants != "plain" and quantizer.startswith("bitsandbytes"):
        try:
            import peft

            config = peft.LoraConfig(
                r=RANK, lora_alpha=ALPHA, lora_dropout=DROPOUT, target_modules="all-linear", task_type="CAUSAL_LM",
            )  # fmt: skip
            prepared = peft.prepare_model_for_kbit_training(model, use_gradient_checkpointing=checkpoints)
            return {"model": peft.get_peft_model(prepared, config), "name": f"PEFT {peft.__version__}"}
        except ImportError as error:
            if wants == "peft":
                raise
            print(f"peft: {error}; a LoRA layer in PyTorch stands in", file=sys.stderr)
    if checkpoints:
        make_checkpointed(model)
    wrap_with_lora(model)
    return {"name": "LoRA in PyTorch"}


def wrap_with_lora(model):
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Nf4Linear) or type(child).__name__ == "Linear4bit":
                setattr(module, name, LoraLinear(child))


def make_checkpointed(model):
    """As gradient_checkpointing_enable does, whatever the version of transformers."""
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.enable_input_require_grads()


def clock(device):
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def measure_training(model, trainable, args, dtype):
    """Seconds of whole optimizer steps: forward, backward, clip, AdamW."""
    optimizer = torch.optim.AdamW(trainable, lr=LEARNING_RATE, weight_decay=0.0, fused=args.device == "cuda")
    vocab = SHAPES[args.shape]["vocab_size"]
    ids = torch.randint(0, vocab, (args.rows, args.tokens), device=args.device)
    model.train()
    seconds, loss = [], float("nan")
    for step in range(args.warmup + args.steps):
        begun = clock(args.device)
        with torch.autocast(args.device, dtype=dtype):
            output = model(input_ids=ids, labels=ids, use_cache=False)
        output.loss.backward()
        torch.nn.utils.clip_grad_norm_(trainable, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step >= args.warmup:
            seconds.append(clock(args.device) - begun)
        loss = output.loss.item()
    median = statistics.median(seconds)
    return {"tokensPerSecond": args.rows * args.tokens / median, "stepSeconds": seconds, "loss": loss}


@torch.no_grad()
def measure_decode(model, args, dtype):
    """Greedy tokens after a prompt of 128, as transformers generates them."""
    model.eval()
    vocab = SHAPES[args.shape]["vocab_size"]
    prompt = torch.randint(0, vocab, (1, 128), device=args.device)
    options = dict(do_sample=False, use_cache=True, min_new_tokens=args.decode, max_new_tokens=args.decode)
    mask = torch.ones_like(prompt)
    rates = []
    with torch.autocast(args.device, dtype=dtype):
        for run in range(3):
            begun = clock(args.device)
            model.generate(input_ids=prompt, attention_mask=mask, pad_token_id=0, **options)
            if run > 0:
                rates.append(args.decode / (clock(args.device) - begun))
    return {"tokensPerSecond": statistics.median(rates)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shape", choices=sorted(SHAPES), default="llama-3.2-1b")
    parser.add_argument("--tokens", type=int, default=2048, help="of a row")
    parser.add_argument("--rows", type=int, default=1, help="rows of a step")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--decode", type=int, default=64, help="tokens to generate; 0 leaves it out")
    parser.add_argument("--keep", choices=["inputs", "all"], default="inputs", help="inputs: gradient checkpointing")
    parser.add_argument("--base", choices=["auto", "peft", "plain"], default="auto", help="peft: fail without it")
    parser.add_argument("--json", help="where to write the record")
    args = parser.parse_args()
    args.device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16
    model, trainable, made = make_model(args.shape, args.device, dtype, args.base, args.keep)
    if args.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    training = measure_training(model, trainable, args, dtype)
    peak = torch.cuda.max_memory_allocated() if args.device == "cuda" else None
    reserved = torch.cuda.max_memory_reserved() if args.device == "cuda" else None
    decode = measure_decode(model, args, dtype) if args.decode else None
    record = {
        "shape": args.shape, "tokens": args.tokens, "rows": args.rows, "keep": args.keep, "dtype": "bf16", **made,
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if args.device == "cuda" else "cpu",
        "trainableParameters": sum(p.numel() for p in trainable),
        "training": training, "decode": decode, "peakGpuBytes": peak, "reservedGpuBytes": reserved,
    }  # fmt: skip
    text = json.dumps(record, indent=2)
    print(text)
    if args.json:
        with open(args.json, "w") as file:
            file.write(text + "\n")


if __name__ == "__main__":
    main()
