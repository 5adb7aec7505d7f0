"""Make `formats.npz`: what bitsandbytes, torchao and FlashOptim store on `formats_problem.py`. In a virtual environment of its own:

    python -m venv /tmp/formats
    /tmp/formats/bin/pip install torch==2.13.0 bitsandbytes==0.50.2 torchao==0.18.0 triton==3.9.0 numpy
    /tmp/formats/bin/pip install --no-deps flashoptim==0.1.4
    /tmp/formats/bin/python tests/golden/make_formats.py

PyTorch needs its CPU build only. bitsandbytes runs its code for the CPU. torchao's optimizer is not compiled, which changes nothing but
the order of roundings. FlashOptim's kernels, which are for GPUs, run in Triton's interpreter, in NumPy; so that it lets them, every tensor
says that it is on a GPU, and the one configuration of each kernel is taken untuned. Named by format,

    numbers/FORMAT/SIGN/{codes,scales}                what becomes of `numbers()`, or of their squares
    run/FORMAT/FIELD/{codes,scales}                   of the leaf `w` of AdamW, after the updates in KEPT
    run/FORMAT/params                                 and `w` itself at the end
    values/FORMAT/FIELD                               what the library reads in its state of the leaf `flat` at the end
    saved/FORMAT/state/NUMBER/...                     the optimizer's `state_dict` at the end; float8 as uint8
"""

import os
import pathlib

os.environ["TRITON_INTERPRET"] = "1"
os.environ["TORCHDYNAMO_DISABLE"] = "1"

import bitsandbytes
import bitsandbytes.functional
import flashoptim.optimizers as flash
import numpy as np
import torch
from formats_problem import KEPT, SETTINGS, STEPS, first, gradients, numbers
from torchao.optim import AdamW8bit, AdamWFp8
from torchao.optim.subclass_8bit import OptimState8bit
from torchao.optim.subclass_fp8 import OptimStateFp8

HERE = pathlib.Path(__file__).parent

torch.set_num_threads(1)
torch.cuda.is_available = lambda: True
torch.Tensor.is_cuda = property(lambda self: True)
flash._get_sm_count = lambda device=None: 1
for kernel in (flash._triton_quantize_kernel, flash._triton_dequantize_kernel):
    kernel.configs = kernel.configs[:1]


def array(x):
    x = torch.as_tensor(x)
    return (x.view(torch.uint8) if x.dtype == torch.float8_e4m3fn else x).numpy().copy()


# ---- one encoding: (numbers, whether they have a sign) -> codes, scales


def by_bitsandbytes(x, signed):
    code = bitsandbytes.functional.create_dynamic_map(signed=signed)
    return torch.ops.bitsandbytes.quantize_blockwise(x, code, 256)


def by_torchao(x, signed):
    state = OptimState8bit.zeros(x.shape, signed, 256)
    state.copy_(x)
    return state.codes, state.scale


def by_torchao_fp8(x, signed):
    state = OptimStateFp8.zeros(x.shape, 256)
    state.copy_(x)
    return state.codes, state.scale


def by_flash(x, signed):
    return flash.quantize(x, signed=signed, sqrt=not signed, softsign=signed)


# ---- what a state holds: (state of a parameter, field) -> codes, scales; and its values


def of_bitsandbytes(state, field):
    number = {"mu": 1, "nu": 2}[field]
    return state[f"state{number}"], state[f"absmax{number}"]


def read_by_bitsandbytes(state, field):
    number = {"mu": 1, "nu": 2}[field]
    codes, absmax = of_bitsandbytes(state, field)
    return torch.ops.bitsandbytes.dequantize_blockwise(codes, absmax, state[f"qmap{number}"], 256, torch.float32)


EXP = {"mu": "exp_avg", "nu": "exp_avg_sq"}
of_torchao = lambda state, field: (state[EXP[field]].codes, state[EXP[field]].scale)
of_flash = lambda state, field: (state[EXP[field]].quantized, state[EXP[field]].scales)

FORMATS = {
    "bitsandbytes:8bit": (bitsandbytes.optim.AdamW8bit, {}, by_bitsandbytes, of_bitsandbytes, read_by_bitsandbytes),
    "torchao:8bit": (AdamW8bit, {}, by_torchao, of_torchao, lambda s, f: s[EXP[f]].dequantize()),
    "torchao:fp8": (AdamWFp8, {}, by_torchao_fp8, of_torchao, lambda s, f: s[EXP[f]].dequantize()),
    "flash:8bit": (
        flash.FlashAdamW,
        {"fused": False, "compress_state_dict": True, "check_numerics": False, "master_weight_bits": None},
        by_flash, of_flash, lambda s, f: s[EXP[f]].materialize(),
    ),
}  # fmt: skip


def flattened(path, x):
    """The arrays of nested dictionaries, and of tensors of torchao's own, by their paths."""
    if isinstance(x, dict):
        for key, value in x.items():
            yield from flattened(f"{path}/{key}", value)
    elif isinstance(x, (OptimState8bit, OptimStateFp8)):
        for key in x.tensor_attrs:
            yield f"{path}/{key}", array(getattr(x, key))
    else:
        yield path, array(x)


def run(name):
    """AdamW on the problem."""
    cls, more, _, stored, values = FORMATS[name]
    params = {k: torch.nn.Parameter(torch.from_numpy(v)) for k, v in first().items()}
    optimizer, kept, found = cls(list(params.values()), **SETTINGS, **more), {}, {}
    for step in range(STEPS):
        for k, g in gradients(step).items():
            params[k].grad = torch.from_numpy(g)
        optimizer.step()
        if step in KEPT:
            for field in ("mu", "nu"):
                for part, x in zip(("codes", "scales"), stored(optimizer.state[params["w"]], field), strict=True):
                    kept.setdefault(f"run/{name}/{field}/{part}", []).append(array(x))
    found[f"run/{name}/params"] = array(params["w"].detach())
    for field in ("mu", "nu"):
        found[f"values/{name}/{field}"] = array(values(optimizer.state[params["flat"]], field))
    saved = flattened(f"saved/{name}/state", optimizer.state_dict()["state"])
    return {k: np.stack(v) for k, v in kept.items()} | found | dict(saved)


def made():
    arrays = {}
    for name, (_, _, quantize, *_) in FORMATS.items():
        for sign, x in (("signed", numbers()), ("unsigned", np.square(numbers()))):
            codes, scales = quantize(torch.from_numpy(x), sign == "signed")
            arrays |= {f"numbers/{name}/{sign}/codes": array(codes), f"numbers/{name}/{sign}/scales": array(scales)}
        arrays |= run(name)
    return arrays


if __name__ == "__main__":
    np.savez_compressed(HERE / "formats.npz", **made())
