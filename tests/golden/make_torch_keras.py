"""Make `torch.npz` and `keras.npz`: where the real optimizers go on `problem.py`. Run it in a virtual environment of its own:

    python -m venv /tmp/golden
    /tmp/golden/bin/pip install torch==2.13.0 keras==3.15.1 jax==0.10.2 numpy
    /tmp/golden/bin/python tests/golden/make_torch_keras.py

PyTorch needs its CPU build only. Keras runs on JAX, where its optimizers are the generic ones; `floatx` and PyTorch's default dtype
are those of the parameters, so that float64 means float64 throughout. One thing of Keras's is replaced: its mean on JAX is computed in
float32 even of float64 (8e-8 in Adafactor). An array is named `optimizer/setting/dtype/leaf` and holds the
parameters after the updates in `problem.KEPT`; `average/...` holds ASGD's `ax` and Keras's moving average after the last;
`signatures` is JSON of what each class takes and its defaults.
"""

import inspect
import json
import os
import pathlib

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_ENABLE_X64"] = "1"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax.numpy as jnp
import keras
import numpy as np
import torch
from problem import KEPT, KERAS, STEPS, TORCH, problem, schedule, shapes_for

HERE = pathlib.Path(__file__).parent

CLASSES = {
    "sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "nadam": "NAdam", "radam": "RAdam", "adamax": "Adamax", "adagrad": "Adagrad",
    "adadelta": "Adadelta", "rmsprop": "RMSprop", "rprop": "Rprop", "asgd": "ASGD", "adafactor": "Adafactor", "muon": "Muon",
}  # fmt: skip
KERAS_CLASSES = {**CLASSES, "nadam": "Nadam", "ftrl": "Ftrl", "lion": "Lion", "lamb": "Lamb"}


def run_torch(name, arguments, dtype):
    """Parameters after each kept update, and averages."""
    torch.set_default_dtype(getattr(torch, dtype))
    torch.set_num_threads(1)
    first, gradients = problem(dtype, shapes_for(name))
    params = {k: torch.nn.Parameter(torch.from_numpy(v.copy())) for k, v in first.items()}
    scheduled = arguments.get("lr") == "schedule"
    arguments = {**arguments, "lr": schedule(0)} if scheduled else arguments
    optimizer = getattr(torch.optim, CLASSES[name])(params.values(), **arguments)
    kept = {k: [] for k in params}
    for step in range(STEPS):
        if scheduled:
            for group in optimizer.param_groups:
                group["lr"] = schedule(step)
        g = gradients(step, {k: v.detach().numpy() for k, v in params.items()}, arguments.get("maximize", False))
        for k, v in params.items():
            v.grad = torch.from_numpy(g[k])
        optimizer.step()
        if step in KEPT:
            for k, v in params.items():
                kept[k].append(v.detach().numpy().copy())
    averages = {k: optimizer.state[v]["ax"].numpy() for k, v in params.items() if "ax" in optimizer.state[v]}
    return kept, averages


keras.src.backend.numpy.mean = lambda x, axis=None, keepdims=False: jnp.mean(jnp.asarray(x), axis, keepdims=keepdims)


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return schedule(keras.ops.cast(step, keras.config.floatx()))


def run_keras(name, arguments, dtype):
    """Parameters after each kept update, and averages."""
    keras.config.set_floatx(dtype)
    first, gradients = problem(dtype, shapes_for(name))
    params = {k: keras.Variable(v, dtype=dtype, name=k) for k, v in first.items()}
    arguments = {k: Schedule() if v == "schedule" else v for k, v in arguments.items()}
    optimizer = getattr(keras.optimizers, KERAS_CLASSES[name])(**arguments)
    kept = {k: [] for k in params}
    for step in range(STEPS):
        g = gradients(step, {k: np.asarray(v.value) for k, v in params.items()})
        optimizer.apply([keras.ops.convert_to_tensor(g[k], dtype) for k in params], list(params.values()))
        if step in KEPT:
            for k, v in params.items():
                kept[k].append(np.asarray(v.value))
    averages = {}
    if arguments.get("use_ema"):
        averages = {k: np.asarray(a.value) for k, a in zip(params, optimizer._model_variables_moving_average, strict=True)}
    return kept, averages


def signature(cls):
    """What a class takes, in its order, with the defaults."""
    parameters = inspect.signature(cls.__init__).parameters.values()
    return {p.name: p.default for p in parameters if p.name not in ("self", "params") and p.kind is not p.VAR_KEYWORD}


def make(run, settings, classes, path):
    signatures = {name: signature(getattr(*classes[name])) for name, _, _ in settings}
    arrays = {"signatures": np.array(json.dumps(signatures))}
    for name, setting, arguments in settings:
        for dtype in ("float32", "float64"):
            kept, averages = run(name, arguments, dtype)
            for leaf, values in kept.items():
                array = np.stack(values)
                assert array.dtype == dtype
                assert np.all(np.isfinite(array))
                arrays[f"{name}/{setting}/{dtype}/{leaf}"] = array
            for leaf, value in averages.items():
                arrays[f"average/{name}/{setting}/{dtype}/{leaf}"] = value
    np.savez_compressed(path, **arrays)


if __name__ == "__main__":
    make(run_torch, TORCH, {k: (torch.optim, v) for k, v in CLASSES.items()}, HERE / "torch.npz")
    make(run_keras, KERAS, {k: (keras.optimizers, v) for k, v in KERAS_CLASSES.items()}, HERE / "keras.npz")
