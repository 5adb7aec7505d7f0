"""Make `scheduling.npz`: the rates of PyTorch's and Keras's schedules, and what PyTorch's loss scaler does, on `scheduling.py`.

Run it as `make_torch_keras.py` says. `torch/class/setting` holds the rates in float64 after 0, 1, ... calls of `step()`, with
`.../momentum` where that is cycled; `keras/class/setting` the values; `plateau/setting` the rates after each metric; `scale/setting` and
`params/setting` what `GradScaler` multiplies by before each update, and where Adam goes; `signatures` is JSON of what each class takes.
"""

import inspect
import json
import os
import pathlib
import warnings

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_ENABLE_X64"] = "1"
os.environ["JAX_PLATFORMS"] = "cpu"

import keras
import numpy as np
import torch
from scheduling import KERAS, LR, PLATEAUS, SCALES, STEPS, TORCH, metrics, ramp, scaled_problem
from torch.optim import lr_scheduler

HERE = pathlib.Path(__file__).parent
warnings.filterwarnings("ignore", category=UserWarning)  # `step()` before `optimizer.step()`


def scheduler(name, arguments, optimizer):
    if "schedulers" in arguments:
        arguments = {**arguments, "schedulers": [scheduler(n, a, optimizer) for n, a in arguments["schedulers"]]}
    given = {k: ramp if v == "ramp" else v for k, v in arguments.items()}
    return getattr(lr_scheduler, name)(optimizer, **given)


def rates(name, arguments):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR, momentum=0.9)
    made = scheduler(name, arguments, optimizer)
    found, momenta = [], []
    for _ in range(STEPS if name != "OneCycleLR" else made.total_steps):
        found.append(optimizer.param_groups[0]["lr"])
        momenta.append(optimizer.param_groups[0]["momentum"])
        if len(found) < getattr(made, "total_steps", STEPS + 1):
            optimizer.step()
            made.step()
    return found, momenta


def plateau(arguments):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    made, found = lr_scheduler.ReduceLROnPlateau(optimizer, **arguments), []
    for metric in metrics():
        made.step(metric)
        found.append(optimizer.param_groups[0]["lr"])
    return found


def scaled(arguments):
    first, gradients = scaled_problem()
    p = torch.nn.Parameter(torch.from_numpy(first.copy()))
    optimizer, scaler = torch.optim.Adam([p], lr=0.01), torch.amp.GradScaler("cpu", **arguments)
    scales, params = [], []
    for g in gradients:
        scales.append(scaler.get_scale())
        optimizer.zero_grad()
        scaler.scale((p * torch.from_numpy(g)).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        params.append(p.detach().numpy().copy())
    return scales, params


def signature(cls):
    """What a class takes, in its order, with the defaults."""
    parameters = [p for p in inspect.signature(cls.__init__).parameters.values() if p.name not in ("self", "optimizer")]
    return {p.name: "required" if p.default is p.empty else p.default for p in parameters}


def main():
    classes = {
        "torch": {n: getattr(lr_scheduler, n) for n in [*(n for n, _, _ in TORCH), "ReduceLROnPlateau"]},
        "keras": {n: getattr(keras.optimizers.schedules, n) for n, _, _ in KERAS},
    }
    signatures = {system: {n: signature(c) for n, c in found.items()} for system, found in classes.items()}
    arrays = {"signatures": np.array(json.dumps(signatures))}
    for name, setting, arguments in TORCH:
        found, momenta = rates(name, arguments)
        arrays[f"torch/{name}/{setting}"] = np.array(found)
        if name == "OneCycleLR":
            arrays[f"torch/{name}/{setting}/momentum"] = np.array(momenta)
    keras.config.set_floatx("float64")
    for name, setting, arguments in KERAS:
        made = getattr(keras.optimizers.schedules, name)(**arguments)
        values = [made(k if name == "PiecewiseConstantDecay" else float(k)) for k in range(STEPS)]
        arrays[f"keras/{name}/{setting}"] = np.array([float(v) for v in values])
    for setting, arguments in PLATEAUS:
        arrays[f"plateau/{setting}"] = np.array(plateau(arguments))
    for setting, arguments in SCALES:
        scales, params = scaled(arguments)
        arrays[f"scale/{setting}"], arrays[f"params/{setting}"] = np.array(scales), np.array(params)
    np.savez_compressed(HERE / "scheduling.npz", **arrays)


if __name__ == "__main__":
    main()
