"""Writes test/fixtures/torch-files: what torch.save makes of tensors, and of a checkpoint as XTuner has it.

Run it from the root of the repository:

    python -m venv venv
    venv/bin/pip install torch==2.13.0 numpy==2.4.6
    venv/bin/python test/reference/make_torch_file_fixtures.py

tensors.pt and tensors-legacy.pt hold tensors of every type and of odd strides, in the ZIP format and in the
one before PyTorch 1.6; tensors.json has each one's shape, type and bytes in the order of its elements.
numpy-1.pkl is the pickle of a HistoryBuffer with the names that NumPy 1 has for its modules.
iter_6.pth is an XTuner 0.1.17 checkpoint of two adapted maps in two layers: keys, types and the classes of
MMEngine as in the real ones. iter_6.json has its tensors.
"""

import io
import json
import pickle
import sys
import types
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

OUT = Path(__file__).resolve().parent.parent / "fixtures" / "torch-files"
RANK, INPUTS = 2, 128
ROWS = {"q_proj": 128, "v_proj": 64}

TYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
    torch.uint16, torch.uint32, torch.uint64, torch.float8_e4m3fn, torch.float8_e5m2,
]  # fmt: skip

# A config in the form in which mmengine 0.10.3 writes it (Config.pretty_text): sorted, and names as texts.
TOKENIZER = """dict(
        padding_side='right',
        pretrained_model_name_or_path='tiny-llama',
        trust_remote_code=True,
        type='transformers.AutoTokenizer.from_pretrained')"""
DATASET = f"""dict(
    dataset=dict(
        data_files=dict(train='personal_assistant.json'),
        path='json',
        type='datasets.load_dataset'),
    dataset_map_fn='xtuner.dataset.map_fns.openai_map_fn',
    max_length=1024,
    pack_to_max_length=True,
    remove_unused_columns=True,
    shuffle_before_pack=True,
    template_map_fn=dict(
        template='xtuner.utils.PROMPT_TEMPLATE.default',
        type='xtuner.dataset.map_fns.template_map_fn_factory'),
    tokenizer={TOKENIZER},
    type='xtuner.dataset.process_hf_dataset')"""
CONFIG = f"""SYSTEM = ''
accumulative_counts = 16
alpaca_en = {DATASET}
batch_size = 1
betas = (
    0.9,
    0.999,
)
custom_hooks = [
    dict(tokenizer={TOKENIZER}, type='xtuner.engine.hooks.DatasetInfoHook'),
]
default_hooks = dict(
    checkpoint=dict(
        by_epoch=False,
        interval=3,
        max_keep_ckpts=3,
        type='mmengine.hooks.CheckpointHook'),
    logger=dict(
        interval=10,
        log_metric_by_epoch=False,
        type='mmengine.hooks.LoggerHook'),
    param_scheduler=dict(type='mmengine.hooks.ParamSchedulerHook'),
    sampler_seed=dict(type='mmengine.hooks.DistSamplerSeedHook'),
    timer=dict(type='mmengine.hooks.IterTimerHook'))
env_cfg = dict(
    cudnn_benchmark=False,
    dist_cfg=dict(backend='nccl'),
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
launcher = 'none'
load_from = None
log_level = 'INFO'
log_processor = dict(by_epoch=False)
lr = 0.0002
max_epochs = 2
max_norm = 1
model = dict(
    llm=dict(
        pretrained_model_name_or_path='tiny-llama',
        quantization_config=dict(
            bnb_4bit_compute_dtype='torch.float16',
            bnb_4bit_quant_type='nf4',
            bnb_4bit_use_double_quant=True,
            llm_int8_has_fp16_weight=False,
            llm_int8_threshold=6.0,
            load_in_4bit=True,
            load_in_8bit=False,
            type='transformers.BitsAndBytesConfig'),
        torch_dtype='torch.float16',
        trust_remote_code=True,
        type='transformers.AutoModelForCausalLM.from_pretrained'),
    lora=dict(
        bias='none',
        lora_alpha=16,
        lora_dropout=0.1,
        r=2,
        target_modules=[
            'q_proj',
            'v_proj',
        ],
        task_type='CAUSAL_LM',
        type='peft.LoraConfig'),
    type='xtuner.model.SupervisedFinetune',
    use_varlen_attn=False)
optim_wrapper = dict(
    accumulative_counts=16,
    clip_grad=dict(error_if_nonfinite=False, max_norm=1),
    dtype='float16',
    loss_scale='dynamic',
    optimizer=dict(
        betas=(
            0.9,
            0.999,
        ),
        lr=0.0002,
        type='torch.optim.AdamW',
        weight_decay=0),
    type='mmengine.optim.AmpOptimWrapper')
pack_to_max_length = True
param_scheduler = [
    dict(
        begin=0,
        by_epoch=True,
        convert_to_iter_based=True,
        end=0.06,
        start_factor=1e-05,
        type='mmengine.optim.LinearLR'),
    dict(
        begin=0.06,
        by_epoch=True,
        convert_to_iter_based=True,
        end=2,
        eta_min=0.0,
        type='mmengine.optim.CosineAnnealingLR'),
]
prompt_template = 'xtuner.utils.PROMPT_TEMPLATE.default'
randomness = dict(deterministic=False, seed=None)
resume = False
tokenizer = {TOKENIZER}
train_cfg = dict(max_epochs=2, type='xtuner.engine.runner.TrainLoop')
train_dataloader = dict(
    batch_size=1,
    collate_fn=dict(
        type='xtuner.dataset.collate_fns.default_collate_fn',
        use_varlen_attn=False),
    dataset={DATASET},
    num_workers=0,
    sampler=dict(shuffle=True, type='mmengine.dataset.DefaultSampler'))
visualizer = None
work_dir = './work_dirs/tiny'
"""


def values(shape, dtype, generator):
    if dtype == torch.bool:
        return torch.rand(shape, generator=generator) > 0.5
    if dtype == torch.complex64:
        return torch.randn(shape, dtype=dtype, generator=generator)
    if dtype.is_floating_point:
        return (torch.randn(shape, generator=generator) * 3).to(dtype)
    low = 0 if "uint" in str(dtype) else -100
    return torch.randint(low, 100, shape, generator=generator).to(dtype)


def raw(tensor):
    """The bytes in the order of the elements; NumPy lacks some of the types."""
    return tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes().hex()


def described(tensors):
    return {
        name: {"shape": list(t.shape), "dtype": str(t.dtype)[6:], "hex": raw(t)}
        for name, t in tensors.items()
    }


def make_tensors():
    generator = torch.Generator().manual_seed(5)
    tensors = OrderedDict()
    for dtype in TYPES:
        tensors[f"types.{str(dtype)[6:]}"] = values((3, 5), dtype, generator)
    base = values((7, 6, 5), torch.float32, generator)
    tensors["views.base"] = base
    tensors["views.transposed"] = base.transpose(0, 2)
    tensors["views.permuted"] = base.permute(1, 2, 0)
    tensors["views.rows"] = base[2:5]
    tensors["views.columns"] = base[:, :, 1:4]
    tensors["views.steps"] = base[::3, 1::2, ::2]
    tensors["views.diagonal"] = base[:5, 0, :5].diagonal()
    tensors["views.one"] = base[3, 3, 3]
    tensors["views.ones"] = base[:, :1, :].transpose(0, 1)
    tensors["views.empty"] = base[:, 4:4]
    tensors["none"] = torch.empty(0, 3)
    tensors["parameter"] = torch.nn.Parameter(values((4, 3), torch.bfloat16, generator).t())
    return tensors


class HistoryBuffer:
    """What MMEngine's pickles as: its data, and the functions of its class by name."""

    def __init__(self, logs, counts):
        self.max_length = 1000000
        self._log_history = np.array(logs, dtype=np.float64)
        self._count_history = np.array(counts)

    def mean(self):
        pass

    def max(self):
        pass

    def min(self):
        pass

    def current(self):
        pass

    def __getstate__(self):
        functions = [HistoryBuffer.min, HistoryBuffer.max, HistoryBuffer.current, HistoryBuffer.mean]
        named = {function.__name__: function for function in functions}
        return {**self.__dict__, "statistics_methods": named}


def as_mmengine(owner):
    name = "mmengine.logging.history_buffer"
    for part in ("mmengine", "mmengine.logging", name):
        sys.modules[part] = types.ModuleType(part)
    owner.__module__ = name
    owner.__qualname__ = "HistoryBuffer"
    for function in (owner.mean, owner.max, owner.min, owner.current):
        function.__module__ = name
        function.__qualname__ = f"HistoryBuffer.{function.__name__}"
    sys.modules[name].HistoryBuffer = owner


def make_checkpoint():
    generator = torch.Generator().manual_seed(6)
    state = OrderedDict()
    for layer in range(2):
        for module, rows in ROWS.items():
            path = f"llm.base_model.model.model.layers.{layer}.self_attn.{module}"
            state[f"{path}.lora_A.default.weight"] = torch.randn(RANK, INPUTS, generator=generator) / 11
            state[f"{path}.lora_B.default.weight"] = torch.randn(rows, RANK, generator=generator) / 50
    state._metadata = OrderedDict()
    adam = {"step": torch.tensor(3.0), "exp_avg": torch.zeros(2, 128), "exp_avg_sq": torch.zeros(2, 128)}
    scheduler = {"start_factor": 1e-05, "end_factor": 1.0, "total_iters": 1, "by_epoch": False,
                 "base_values": [0.0002], "last_step": 6, "_global_step": 6, "verbose": False,
                 "_last_value": [0.0001], "param_name": "lr", "begin": 0, "end": 1}  # fmt: skip
    runtime = OrderedDict(cfg=CONFIG, seed=1234567890, epoch=0, iter=6, max_epochs=2, max_iters=8,
                          keep_ckpt_ids=[3, 6], last_ckpt="work_dirs/iter_6.pth")  # fmt: skip
    losses = HistoryBuffer([2.5, 2.25, 2.0, 1.5, 1.25, 1.0], [1] * 6)
    return {
        "meta": {
            "epoch": 0, "iter": 6, "cfg": CONFIG, "seed": 1234567890,
            "experiment_name": "internlm2_1_8b_qlora_alpaca_e3_copy_20240412_114849",
            "time": "20240412_115711", "mmengine_version": "0.10.3",
        },
        "state_dict": state,
        "message_hub": {
            "log_scalars": OrderedDict({"train/loss": losses, "train/lr": HistoryBuffer([2e-4], [1])}),
            "runtime_info": runtime,
            "resumed_keys": OrderedDict({"train/loss": True}),
        },
        "optimizer": {
            "state": {0: adam},
            "param_groups": [{"lr": np.float64(0.0001), "betas": (0.9, 0.999), "params": [0]}],
            "loss_scaler": {"scale": 65536.0, "growth_factor": 2.0, "_growth_tracker": 3},
        },
        "param_schedulers": [scheduler, {**scheduler, "by_epoch": True}],
    }  # fmt: skip


def with_numpy_1_names(data):
    """The same pickle as NumPy 1 would write it: a GLOBAL's name ends with its line."""
    return data.replace(b"numpy._core.", b"numpy.core.")


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    tensors = make_tensors()
    torch.save(tensors, OUT / "tensors.pt")
    # The old format cannot say these types.
    old = {k: v for k, v in tensors.items() if "uint" not in k and "float8" not in k}
    old["types.uint8"] = tensors["types.uint8"]
    torch.save(old, OUT / "tensors-legacy.pt", _use_new_zipfile_serialization=False)
    (OUT / "tensors.json").write_text(json.dumps(described(tensors), indent=0) + "\n")

    as_mmengine(HistoryBuffer)
    checkpoint = make_checkpoint()
    torch.save(checkpoint, OUT / "iter_6.pth")
    (OUT / "iter_6.json").write_text(json.dumps(described(checkpoint["state_dict"]), indent=0) + "\n")
    buffer = io.BytesIO()
    pickle.dump(checkpoint["message_hub"], buffer, protocol=2)
    (OUT / "numpy-1.pkl").write_bytes(with_numpy_1_names(buffer.getvalue()))


main()
